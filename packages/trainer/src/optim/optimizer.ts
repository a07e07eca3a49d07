/** @file What an optimizer is: what it remembers of every parameter, and one traced update of a bucket. */
import type { Tensor } from "@graftml/tensor";

/** The tensors that an update works on. N is the size of the bucket, a multiple of 64. */
export interface BucketUpdate {
  /** Parameters [N], a leaf: to be updated in place. */
  readonly value: Tensor;
  /** Gradients [N], before clipping. */
  readonly gradient: Tensor;
  /** What gradients are multiplied with, []: 1, or less where their norm is above the maximum. */
  readonly clip: Tensor;
  /** What the optimizer remembers, [N] each, leaves in the order of `Optimizer.state`: to be updated in place. */
  readonly state: readonly Tensor[];
  /** For every 64 elements [N/64, 2]: factor on the learning rate, and 1 where weight decay applies, else 0. */
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
  /** What it remembers of every parameter ("m", "v"); starts at zero. */
  readonly state: readonly string[];
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
