/** @file Decodes a matrix stored as codes to f32, for whatever reads it other than a product. */
import type { DequantizeAttrs } from "../encoding.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import { sizeOf } from "../shape.ts";
import { codeBindings, codesText } from "./codes.ts";
import { input, output } from "./kernel.ts";
import { vector, widthFor } from "./matmul-parts.ts";
import type { Target } from "./target.ts";
import { bytesOf, checkBindings, dispatch, eachItem, itemGroups, wgsl } from "./wgsl.ts";

/** Codes and scales → [rows, columns] in f32, a vector at a time where a vector has one scale. */
export function dequantizeLowering({ inputs, outputs, attrs }: Spec<DequantizeAttrs>, target: Target): Lowering {
  checkBindings("dequantize", [...inputs, ...outputs], target);
  const { shape, encoding } = attrs;
  const size = sizeOf(shape);
  const width = widthFor(4, encoding.block ?? shape[1], size);
  const text = codesText("b", encoding, "none");
  const scale = text.scale(`i * ${width}u`, `i * ${width}u / sizes.columns`);
  const code = eachItem(`y[i] = ${text.load("i", width, scale)};`);
  return {
    dispatches: [
      dispatch({
        label: `dequantize ${encoding.name}`,
        bindings: [
          ...codeBindings(
            "b",
            attrs,
            inputs.map((_, i) => input(i)),
          ),
          { name: "y", type: vector(width), operand: output(0) },
        ],
        sizes: { count: size / width, columns: shape[1] },
        workgroups: itemGroups(size / width, target),
        code: wgsl`
          ${text.declarations}
          ${code}`,
        cost: { flops: size, bytes: [...inputs, ...outputs].reduce((n, t) => n + bytesOf(t), 0) },
      }),
    ],
  };
}
