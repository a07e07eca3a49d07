/** @file What an optimizer is: what it remembers of every parameter, and one traced update of a bucket. */
import type { Tensor } from "@graftml/tensor";
import { BLOCK } from "./chunks.ts";

/** Something that an optimizer keeps of every parameter; it starts at zero. */
export interface Memory {
  readonly name: string;
  readonly dtype: "f32" | "u32";
  /** Numbers kept for each block of 256 numbers of a parameter. 256 of them have the parameter's own shape. */
  readonly perBlock: number;
}

/** One f32 for every number of a parameter. */
export const moment = (name: string): Memory => ({ name, dtype: "f32", perBlock: BLOCK });

/** The tensors that an update works on. N is the size of the bucket, a multiple of 256. */
export interface BucketUpdate {
  /** Parameters [N], a leaf: to be updated in place. */
  readonly value: Tensor;
  /** Gradients [N], before clipping. */
  readonly gradient: Tensor;
  /** What gradients are multiplied with, []: 1, or less where their norm is above the maximum. */
  readonly clip: Tensor;
  /** What the optimizer remembers, leaves [N/256 · perBlock] in the order of `Optimizer.state`: to be updated in place. */
  readonly state: readonly Tensor[];
  /** For every 256 elements [N/256, 2]: factor on the learning rate, and 1 where weight decay applies, else 0. */
  readonly rates: Tensor;
  /** The values of `Optimizer.scalars`. */
  readonly scalars: Tensor;
}

/**
 * An optimizer is plain data and a traced function; anything of this shape can be one. What varies from step to step comes
 * in through `scalars`, so that a compiled program never has a learning rate frozen into it.
 */
export interface Optimizer {
  readonly name: string;
  /** What it was made with; a checkpoint is only resumed under the same. */
  readonly settings: Readonly<Record<string, number>>;
  /** What it remembers of every parameter. */
  readonly state: readonly Memory[];
  /** The numbers of one step: `step` counts from 1, `lr` is the scheduled learning rate. Always equally many. */
  scalars(step: number, lr: number): readonly number[];
  /** Traces the update of one bucket, in place. */
  update(bucket: BucketUpdate): void;
}

/** What the optimizers of this package can be made with; each takes what it knows. */
export interface OptimizerSettings {
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly momentum?: number;
}
