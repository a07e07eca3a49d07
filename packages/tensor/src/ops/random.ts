/** @file Random numbers that are a pure function of seed, step, name and index. */
import { sizeOf, type Shape } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { uniformLowering } from "../kernels/random.ts";
import { fill, less, mul, scale, sub } from "./elementwise.ts";
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

/** The uniform number of (seed, step, key, index), in (0, 1), with 23 random bits: exact in f32. */
export const uniformAt = (seed: number, step: number, key: number, index: number): number =>
  ((mix(mix(mix(mix(seed) ^ step) ^ key) ^ index) >>> 9) + 0.5) / 2 ** 23;

export interface UniformAttrs {
  /** Key of the name, from `keyOf`. */
  readonly key: number;
  readonly shape: Shape;
}

const uniformOp: Op<UniformAttrs> = {
  name: "uniform",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  reference: ([clock], { attrs: { key, shape } }) => [
    new Float64Array(sizeOf(shape)).map((_, i) => uniformAt(clock![0]!, clock![1]!, key, i)),
  ],
  kernel: (spec, target) => uniformLowering(spec, target),
  vjp: () => [null],
};

/**
 * Uniform noise in (0, 1): a function of the clock (u32 [2]: seed and step), the name and the index, and of nothing else.
 * Recomputation by checkpointing and another order of methods give the same numbers.
 */
export const uniform = (clock: Tensor, name: string, shape: Shape): Tensor => apply(uniformOp, [clock], { key: keyOf(name), shape });

/**
 * Zeroes each element with probability p and divides the rest by 1 − p; the identity for p = 0.
 * @param noise uniform numbers of the shape of x.
 * @see Srivastava et al. 2014; torch `dropout`.
 */
export const dropout = (x: Tensor, p: number, noise: () => Tensor): Tensor =>
  p === 0 ? x : scale(mul(x, sub(fill(x.node.trace, [], 1), less(noise(), fill(x.node.trace, [], p)))), 1 / (1 - p));
