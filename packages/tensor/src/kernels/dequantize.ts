/** @file Decodes a matrix stored as codes to f32, for whatever reads it other than a product. */
import type { DequantizeAttrs } from "../encoding.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import { sizeOf } from "../shape.ts";
import { codeBindings, codesText } from "./codes.ts";
import { codedRows, cut, firstScale, plainRows, rowsIn } from "./cuts.ts";
import { input, output } from "./kernel.ts";
import { vector, widthFor } from "./matmul-parts.ts";
import type { Target } from "./target.ts";
import { bytesOf, dispatch, eachItem, itemGroups, wgsl } from "./wgsl.ts";

/** Codes and scales → [rows, columns] in f32, a vector at a time where a vector has one scale. */
export function dequantizeLowering({ inputs, outputs, attrs }: Spec<DequantizeAttrs>, target: Target): Lowering {
  const { shape, encoding } = attrs;
  const [rows, columns] = shape;
  const size = sizeOf(shape);
  const width = widthFor(4, encoding.block ?? columns, size);
  const text = codesText("b", encoding, "none");
  const scale = text.scale(`i * ${width}u`, `i * ${width}u / sizes.columns`);
  const code = eachItem(`y[i] = ${text.load("i", width, scale)};`);
  const [stored, full] = [codedRows(attrs), plainRows(4 * columns)];
  const bytes = [...inputs, ...outputs].reduce((n, t) => n + bytesOf(t), 0);
  const dispatches = cut("dequantize", rows, [stored, full], target.maxBinding).map((span) => {
    const count = (span.length * columns) / width;
    const operands = inputs.map((_, i) => input(i, i === 0 ? rowsIn(span, stored) : {}));
    return dispatch({
      label: `dequantize ${encoding.name}`,
      bindings: [
        ...codeBindings("b", attrs, operands),
        { name: "y", type: vector(width), operand: output(0, rowsIn(span, full)) },
      ],
      sizes: { count, columns, scale0: firstScale(span, attrs) },
      workgroups: itemGroups(count, target),
      code: wgsl`
        ${text.declarations}
        ${code}`,
      cost: { flops: span.length * columns, bytes: (bytes * span.length) / rows },
    });
  });
  return { dispatches };
}
