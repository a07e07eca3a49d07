/** @file Sums over axes. */
import { sumLowering } from "../kernels/reduce.ts";
import { normalizeAxis, type Shape, sizeOf } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { add, fill, scale } from "./elementwise.ts";
import { reshape } from "./layout.ts";
import type { Op } from "./op.ts";

/** The axis summed over stands between `outer` and `inner`: x [outer, length, inner] → y [outer, inner]. */
export interface SumAttrs {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  /** Shape of the result: any shape of outer · inner elements. */
  readonly shape: Shape;
}

/** x [outer, length, inner] → Σ over the middle axis. */
export const sumOp: Op<SumAttrs> = {
  name: "sum",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  reference([x], { attrs: { outer, length, inner } }) {
    const y = new Float64Array(outer * inner);
    for (let o = 0; o < outer; o++)
      for (let l = 0; l < length; l++)
        for (let i = 0; i < inner; i++) y[o * inner + i]! += x![(o * length + l) * inner + i]!;
    return [y];
  },
  kernel: (spec, target) => sumLowering(spec, target),
  vjp: (c) => {
    const { outer, length, inner } = c.attrs;
    const x = c.node.inputs[0]!;
    const spread = add(reshape(c.cotangent(0), [outer, 1, inner]), fill(x.node.trace, [outer, length, inner], 0));
    return [reshape(spread, x.shape)];
  },
};

/**
 * Sum over `axes` (all of them if absent), in a fixed order: the same device gives the same bits.
 *
 * Axes that stand side by side are summed in one pass.
 */
export function sum(x: Tensor, axes?: readonly number[], { keepAxes = false } = {}): Tensor {
  const over = new Set(axes?.map((a) => normalizeAxis("sum", x.shape, a)) ?? x.shape.keys());
  let y = x;
  for (let last = x.shape.length - 1; last >= 0; last--) {
    if (!over.has(last)) continue;
    let first = last;
    while (first > 0 && over.has(first - 1)) first--;
    y = sumRange(y, first, last);
    last = first;
  }
  return keepAxes
    ? y
    : reshape(
        y,
        x.shape.filter((_, i) => !over.has(i)),
      );
}

/** Sums axes first…last and keeps them with length 1. */
function sumRange(x: Tensor, first: number, last: number): Tensor {
  const outer = sizeOf(x.shape.slice(0, first));
  const length = sizeOf(x.shape.slice(first, last + 1));
  const inner = sizeOf(x.shape.slice(last + 1));
  const shape = x.shape.map((d, i) => (i >= first && i <= last ? 1 : d));
  return length === 1 && x.dtype === "f32" ? reshape(x, shape) : apply(sumOp, [x], { outer, length, inner, shape });
}

/** Mean over `axes`, all of them if absent. */
export function mean(x: Tensor, axes?: readonly number[], options?: { readonly keepAxes?: boolean }): Tensor {
  const y = sum(x, axes, options);
  return scale(y, sizeOf(y.shape) / sizeOf(x.shape));
}

/** Sums a cotangent over the axes along which an operand of shape `shape` was broadcast. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const lead = g.shape.length - shape.length;
  const axes = g.shape.flatMap((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : []));
  return axes.length === 0 ? g : reshape(sum(g, axes, { keepAxes: true }), shape);
}
