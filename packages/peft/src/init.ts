/** @file Starting values of owned parameters. */
import { keyOf, type Shape, sizeOf, type Source, uniformAt } from "@graftml/tensor";
import { widenHalf } from "./half.ts";
import type { Base } from "./model.ts";

/** Random numbers that depend on the run's seed and the parameter's name only, not on the order of creation. */
export interface Rng {
  /** The next uniform number in (0, 1). */
  uniform(): number;
  /** The next standard normal number. */
  normal(): number;
}

/** Starting values of a parameter, from a generator of its own and, if need be, the base's weights. */
export type Init = (shape: Shape, rng: Rng, base: Base) => Source | Promise<Source>;

/** The generator of one parameter. */
export function rngOf(seed: number, name: string): Rng {
  const key = keyOf(name);
  let index = 0;
  const uniform = (): number => uniformAt(seed, 0, key, index++);
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

const drawn = (shape: Shape, next: () => number): Float32Array => new Float32Array(sizeOf(shape)).map(next);

/** All zero. */
export const zeros: Init = (shape) => new Float32Array(sizeOf(shape));
/** All one. */
export const ones: Init = (shape) => new Float32Array(sizeOf(shape)).fill(1);
/** Normal with mean 0. */
export const normal =
  (std: number): Init =>
  (shape, rng) =>
    drawn(shape, () => rng.normal() * std);
/** Uniform between −bound and bound. */
export const uniformWithin =
  (bound: number): Init =>
  (shape, rng) =>
    drawn(shape, () => (2 * rng.uniform() - 1) * bound);
/** U(±1/√fan_in) for a weight [out, in]: torch's `kaiming_uniform_(a=√5)`, the start of its Linear. */
export const kaimingUniform: Init = (shape, rng, base) =>
  uniformWithin(1 / Math.sqrt(shape.at(-1) ?? 1))(shape, rng, base);
/** A copy of a base parameter, in f32. */
export const copyOf =
  (name: string): Init =>
  async (_, __, base) => {
    const source = await base.read(name);
    return source instanceof Uint16Array ? widenHalf(source) : source;
  };
