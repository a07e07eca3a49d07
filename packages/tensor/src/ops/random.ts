/** @file Random numbers that are a pure function of seed, step, name and index. */
import { streamHalvesLowering, streamLowering, uniformInline } from "../kernels/random.ts";
import type { Shape } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { elementwise, fill, less, mul, scale, sub } from "./elementwise.ts";
import type { Op } from "./op.ts";

/** The mixing step: a 32-bit permutation with full avalanche. @see Wellons 2018, "lowbias32". */
function mix(x: number): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A 32-bit key of a name (FNV-1a, mixed). */
export function keyOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return mix(h);
}

/** The state of the stream of numbers that (seed, step, key) begins. */
const streamOf = (seed: number, step: number, key: number): number => mix(mix(mix(seed) ^ step) ^ key);
/** Number `index` of a stream in that state. */
export const noiseOf = (state: number, index: number): number => ((mix(state ^ index) >>> 9) + 0.5) / 2 ** 23;

/** The uniform number of (seed, step, key, index), in (0, 1), with 23 random bits: exact in f32. */
export const uniformAt = (seed: number, step: number, key: number, index: number): number =>
  noiseOf(streamOf(seed, step, key), index);

// The key of a name is data of a tiny kernel of its own, so that the noise of every name has the same text.
const streamOp: Op<{ readonly key: number }> = {
  name: "stream",
  infer: () => [{ shape: [], dtype: "u32" }],
  reference: ([clock], { attrs: { key } }) => [Float64Array.of(streamOf(clock![0]!, clock![1]!, key))],
  kernel: streamLowering,
  vjp: () => [null],
};

// For kernels that make noise inside and have no binding to spare: as floats it can stand among other floats.
const streamHalvesOp: Op<{ readonly key: number }> = {
  ...streamOp,
  name: "streamHalves",
  infer: () => [{ shape: [2], dtype: "f32" }],
  reference: ([clock], { attrs: { key } }) => {
    const state = streamOf(clock![0]!, clock![1]!, key);
    return [Float64Array.of(state >>> 16, state & 0xffff)];
  },
  kernel: streamHalvesLowering,
};

/** The state of the stream behind `uniform(clock, name, …)` as two floats, its upper and its lower 16 bits: f32 [2]. */
export const streamHalves = (clock: Tensor, name: string): Tensor =>
  apply(streamHalvesOp, [clock], { key: keyOf(name) });

const uniformOp: Op<{ readonly shape: Shape }> = {
  ...elementwise<{ readonly shape: Shape }>({
    name: "uniform",
    f: ([state], _, index) => noiseOf(state!, index),
    wgsl: ([state = ""], _, at) => uniformInline(state, at),
    vjp: () => null,
  }),
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
};

/**
 * Uniform noise in (0, 1): a function of the clock (u32 [2]: seed and step), the name and the index, and of nothing else.
 * Recomputation by checkpointing and another order of methods give the same numbers.
 */
export const uniform = (clock: Tensor, name: string, shape: Shape): Tensor =>
  apply(uniformOp, [apply(streamOp, [clock], { key: keyOf(name) })], { shape });

/**
 * Zeroes each element with probability p and divides the rest by 1 − p; the identity for p = 0.
 * @param noise uniform numbers of the shape of x.
 * @see Srivastava et al. 2014; torch `dropout`.
 */
export const dropout = (x: Tensor, p: number, noise: () => Tensor): Tensor =>
  p === 0 ? x : scale(mul(x, sub(fill(x.node.trace, [], 1), less(noise(), fill(x.node.trace, [], p)))), 1 / (1 - p));
