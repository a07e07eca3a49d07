/** @file Copies: slices, concatenations, transpositions, and rows written into a cache. */

import type { SliceAttrs, SplitAttrs } from "../ops/layout.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import { type Aval, sizeOf, stridesOf } from "../shape.ts";
import { input, output } from "./kernel.ts";
import { lowerCopy } from "./map.ts";
import type { Target } from "./target.ts";
import { flat, walk } from "./walk.ts";
import { checkBindings, dispatch, eachItem, itemGroups, wgsl } from "./wgsl.ts";

/** x [outer, length, inner] → rows start … start + count of the middle axis. */
export function sliceLowering({ inputs, outputs, attrs }: Spec<SliceAttrs>, target: Target): Lowering {
  const [x, y] = [inputs[0], outputs[0]] as readonly [Aval, Aval]; // a slice has one of each
  const { outer, length, inner, start, count } = attrs;
  const rows = walk([outer, count * inner], [length * inner, 1], start * inner);
  const size = sizeOf(y.shape);
  const from = { operand: input(0), aval: x, walk: rows };
  return { dispatches: lowerCopy("slice", from, { operand: output(0), aval: y, walk: flat(size) }, size, target) };
}

/** One dispatch for each output, which picks it from between the others. */
export function splitLowering({ inputs, outputs, attrs: { axis } }: Spec<SplitAttrs>, target: Target): Lowering {
  const [x] = inputs as readonly [Aval]; // a split has one input
  const outer = sizeOf(x.shape.slice(0, axis));
  const pitch = sizeOf(x.shape.slice(axis));
  let offset = 0;
  const dispatches = outputs.flatMap((y, k) => {
    const size = sizeOf(y.shape);
    const width = size / outer;
    const from = { operand: input(0), aval: x, walk: walk([outer, width], [pitch, 1], offset) };
    offset += width;
    return lowerCopy("split", from, { operand: output(k), aval: y, walk: flat(size) }, size, target);
  });
  return { dispatches };
}

/** One dispatch for each input, which lays it between the others. */
export function concatLowering({ inputs, outputs, attrs }: Spec<{ readonly axis: number }>, target: Target): Lowering {
  const [y] = outputs as readonly [Aval]; // concat has one output
  const outer = sizeOf(y.shape.slice(0, attrs.axis));
  const pitch = sizeOf(y.shape.slice(attrs.axis));
  let offset = 0;
  const dispatches = inputs.flatMap((x, k) => {
    const size = sizeOf(x.shape);
    const width = size / outer;
    const to = { operand: output(0), aval: y, walk: walk([outer, width], [pitch, 1], offset) };
    offset += width;
    return lowerCopy("concat", { operand: input(k), aval: x, walk: flat(size) }, to, size, target);
  });
  return { dispatches };
}

/** Axis i of the result is axis `axes[i]` of x. */
export function transposeLowering(
  { inputs, outputs, attrs }: Spec<{ readonly axes: readonly number[] }>,
  target: Target,
): Lowering {
  const [x, y] = [inputs[0], outputs[0]] as readonly [Aval, Aval]; // a transposition has one of each
  const strides = stridesOf(x.shape);
  const size = sizeOf(y.shape);
  const from = {
    operand: input(0),
    aval: x,
    walk: walk(
      y.shape,
      attrs.axes.map((a) => strides[a] ?? 0),
    ),
  };
  return { dispatches: lowerCopy("transpose", from, { operand: output(0), aval: y, walk: flat(size) }, size, target) };
}

/** rows [B, T, inner] into cache [B, S, inner], from row start[b] on; what passes S is dropped. */
export function updateRowsLowering({ inputs }: Spec, target: Target): Lowering {
  const [cache, rows, start] = inputs as readonly [Aval, Aval, Aval]; // updateRows has three
  checkBindings("updateRows", inputs, target);
  const [batch = 1, length = 1] = cache.shape;
  const [, added = 1] = rows.shape;
  const inner = sizeOf(cache.shape.slice(2));
  const unit = inner % 4 === 0 ? 4 : 1;
  const type = unit === 4 ? "vec4u" : "u32";
  const count = (batch * added * inner) / unit;
  return {
    dispatches: [
      dispatch({
        label: "updateRows",
        bindings: [
          { name: "cache", type, operand: output(0) },
          { name: "rows", type, operand: input(1) },
          { name: "start", type: start.dtype, operand: input(2) },
        ],
        sizes: { count, length, added, inner: inner / unit },
        workgroups: itemGroups(count, target),
        code: eachItem(wgsl`
          let row = i / sizes.inner;
          let place = start[row / sizes.added] + i32(row % sizes.added);
          if (place < 0 || place >= i32(sizes.length)) { continue; }
          cache[(row / sizes.added * sizes.length + u32(place)) * sizes.inner + i % sizes.inner] = rows[i];`),
      }),
    ],
  };
}
