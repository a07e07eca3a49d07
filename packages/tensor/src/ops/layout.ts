/** @file Ops that move values without changing them: views, slices, concatenation, transposition, rows written in place. */

import { ShapeError } from "../errors.ts";
import {
  concatLowering,
  sliceLowering,
  splitLowering,
  transposeLowering,
  updateRowsLowering,
} from "../kernels/layout.ts";
import { lengthOf, normalizeAxis, sameShape, type Shape, show, sizeOf, stridesOf } from "../shape.ts";
import { apply, applyAll, type Tensor } from "../tensor.ts";
import { fill } from "./elementwise.ts";
import type { Op } from "./op.ts";

const reshapeOp: Op<{ readonly shape: Shape }> = {
  name: "reshape",
  infer([x], { shape }) {
    if (sizeOf(x!.shape) !== sizeOf(shape) || !shape.every(Number.isInteger))
      throw new ShapeError(
        `reshape: ${show(x!.shape)} has ${sizeOf(x!.shape)} elements, ${show(shape)} has ${sizeOf(shape)}.`,
      );
    return [{ shape, dtype: x!.dtype }];
  },
  reference: ([x]) => [x!],
  kernel: () => ({ dispatches: [] }),
  vjp: (c) => [reshape(c.cotangent(0), c.node.inputs[0]!.shape)],
  aliases: [0],
};

/** The same values in another shape; costs nothing. One axis may be −1: what is left over. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = -sizeOf(shape);
  const full = shape.map((d) => (d === -1 ? sizeOf(x.shape) / known : d));
  return sameShape(full, x.shape) ? x : apply(reshapeOp, [x], { shape: full });
}

/** A stretch of one axis: x seen as [outer, length, inner], rows start … start + count. */
export interface SliceAttrs {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly start: number;
  readonly count: number;
  readonly shape: Shape;
}

const sliceOp: Op<SliceAttrs> = {
  name: "slice",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  reference([x], { attrs: { outer, length, inner, start, count } }) {
    const y = new Float64Array(outer * count * inner);
    for (let o = 0; o < outer; o++)
      y.set(x!.subarray((o * length + start) * inner, (o * length + start + count) * inner), o * count * inner);
    return [y];
  },
  kernel: sliceLowering,
  vjp: (c) => {
    const { outer, length, inner, start, count } = c.attrs;
    const zeros = (n: number): Tensor[] => (n === 0 ? [] : [fill(c.node.trace, [outer, n, inner], 0)]);
    const g = reshape(c.cotangent(0), [outer, count, inner]);
    return [reshape(concat([...zeros(start), g, ...zeros(length - start - count)], 1), c.node.inputs[0]!.shape)];
  },
};

/** Elements start … start + count of one axis. */
export function slice(x: Tensor, axis: number, start: number, count: number): Tensor {
  const a = normalizeAxis("slice", x.shape, axis);
  const length = lengthOf(x.shape, a);
  if (start < 0 || count < 1 || start + count > length)
    throw new ShapeError(`slice: ${start} … ${start + count} is not inside axis ${a} of ${show(x.shape)}.`);
  if (count === length) return x;
  const shape = x.shape.with(a, count);
  const [outer, inner] = [sizeOf(x.shape.slice(0, a)), sizeOf(x.shape.slice(a + 1))];
  return apply(sliceOp, [x], { outer, length, inner, start, count, shape });
}

/** Where an axis is cut: `counts` add up to its length. */
export interface SplitAttrs {
  readonly axis: number;
  readonly counts: readonly number[];
}

const splitOp: Op<SplitAttrs> = {
  name: "split",
  infer: ([x], { axis, counts }) => counts.map((n) => ({ shape: x!.shape.with(axis, n), dtype: x!.dtype })),
  reference([x], { attrs: { axis }, inputs: [aval], outputs }) {
    const row = sizeOf(aval!.shape.slice(axis));
    let offset = 0;
    return outputs.map(({ shape }) => {
      const width = sizeOf(shape.slice(axis));
      const from = offset;
      offset += width;
      return new Float64Array(sizeOf(shape)).map((_, i) => x![Math.floor(i / width) * row + from + (i % width)]!);
    });
  },
  kernel: splitLowering,
  // One concatenation, where slices would each be padded with zeros and added.
  vjp: (c) => [
    concat(
      c.attrs.counts.map((_, i) => c.cotangent(i)),
      c.attrs.axis,
    ),
  ],
};

/**
 * An axis cut into parts of the given lengths, in order: a fused projection into queries, keys and values.
 * @throws {ShapeError} if the lengths do not add up to the axis.
 */
export function split(x: Tensor, axis: number, counts: readonly number[]): readonly Tensor[] {
  const a = normalizeAxis("split", x.shape, axis);
  const total = counts.reduce((n, count) => n + count, 0);
  if (total !== x.shape[a] || counts.some((n) => n < 1))
    throw new ShapeError(`split: ${counts.join(" + ")} is not the length of axis ${a} of ${show(x.shape)}.`);
  return counts.length === 1 ? [x] : applyAll(splitOp, [x], { axis: a, counts });
}

const concatOp: Op<{ readonly axis: number }> = {
  name: "concat",
  infer(inputs, { axis }) {
    const { shape, dtype } = inputs[0]!;
    for (const t of inputs)
      if (t.dtype !== dtype || t.shape.length !== shape.length || t.shape.some((d, i) => i !== axis && d !== shape[i]))
        throw new ShapeError(
          `concat along axis ${axis}: ${inputs.map((i) => `${i.dtype} ${show(i.shape)}`).join(", ")} differ elsewhere.`,
        );
    return [
      {
        shape: shape.with(
          axis,
          inputs.reduce((n, t) => n + t.shape[axis]!, 0),
        ),
        dtype,
      },
    ];
  },
  reference(inputs, { attrs: { axis }, inputs: avals, outputs: [out] }) {
    const y = new Float64Array(sizeOf(out!.shape));
    const outer = sizeOf(out!.shape.slice(0, axis));
    const row = sizeOf(out!.shape.slice(axis));
    let offset = 0;
    inputs.forEach((x, k) => {
      const width = sizeOf(avals[k]!.shape.slice(axis));
      for (let o = 0; o < outer; o++) y.set(x.subarray(o * width, (o + 1) * width), o * row + offset);
      offset += width;
    });
    return [y];
  },
  kernel: concatLowering,
  vjp: (c) => {
    let start = 0;
    return c.node.inputs.map((x, i) => {
      const count = x.shape[c.attrs.axis]!;
      start += count;
      return c.needs(i) ? slice(c.cotangent(0), c.attrs.axis, start - count, count) : null;
    });
  },
};

/** The tensors one after another along an axis; all else must agree. */
export function concat(xs: readonly [Tensor, ...Tensor[]] | readonly Tensor[], axis: number): Tensor {
  const [first] = xs;
  if (first === undefined) throw new ShapeError("concat: needs at least one tensor.");
  return xs.length === 1 ? first : apply(concatOp, xs, { axis: normalizeAxis("concat", first.shape, axis) });
}

const transposeOp: Op<{ readonly axes: readonly number[] }> = {
  name: "transpose",
  infer: ([x], { axes }) => [{ shape: axes.map((a) => x!.shape[a]!), dtype: x!.dtype }],
  reference([x], { attrs: { axes }, inputs: [from], outputs: [to] }) {
    const strides = stridesOf(from!.shape);
    const steps = stridesOf(to!.shape);
    return [
      x!.map((_, index) => {
        let at = 0;
        axes.forEach((a, i) => (at += (Math.floor(index / steps[i]!) % to!.shape[i]!) * strides[a]!));
        return x![at]!;
      }),
    ];
  },
  kernel: transposeLowering,
  vjp: (c) => [
    transpose(
      c.cotangent(0),
      c.attrs.axes.map((_, i) => c.attrs.axes.indexOf(i)),
    ),
  ],
};

/** Axes in another order: axis i of the result is axis `axes[i]` of x. Copies; at most six axes. */
export function transpose(x: Tensor, axes: readonly number[]): Tensor {
  if ([...axes].sort((a, b) => a - b).some((a, i) => a !== i) || axes.length !== x.shape.length)
    throw new ShapeError(`transpose: [${axes.join(", ")}] is no order of the axes of ${show(x.shape)}.`);
  return axes.every((a, i) => a === i) ? x : apply(transposeOp, [x], { axes });
}

const updateRowsOp: Op<Record<never, never>> = {
  name: "updateRows",
  infer([cache, rows, start]) {
    const [b, , ...rest] = cache!.shape;
    const [rb, , ...rrest] = rows!.shape;
    if (b !== rb || !sameShape(rest, rrest) || !sameShape(start!.shape, [b!]) || start!.dtype !== "i32")
      throw new ShapeError(
        `updateRows: cache ${show(cache!.shape)}, rows ${show(rows!.shape)}, start ${start!.dtype} ${show(start!.shape)}: wants [B, S, …], [B, T, …], i32 [B].`,
      );
    return [cache!];
  },
  reference([cache, rows, start], { inputs: [c, r] }) {
    const [B, S] = c!.shape as [number, number];
    const T = r!.shape[1]!;
    const inner = sizeOf(c!.shape.slice(2));
    for (let b = 0; b < B; b++)
      for (let t = 0; t < T && start![b]! + t < S; t++)
        cache!.set(rows!.subarray((b * T + t) * inner, (b * T + t + 1) * inner), (b * S + start![b]! + t) * inner);
    return [cache!];
  },
  kernel: updateRowsLowering,
  aliases: [0],
  updates: true,
};

/**
 * Writes rows [B, T, …] into a parameter cache [B, S, …] in place, from row start[b] (i32 [B]) on; rows past S are
 * dropped. Returns the cache after the update: read that, not the old tensor.
 */
export const updateRows = (cache: Tensor, rows: Tensor, start: Tensor): Tensor =>
  apply(updateRowsOp, [cache, rows, start], {});
