/** @file How far a run is. */

export interface Progress {
  /** Optimizer steps done. */
  readonly step: number;
  /** Optimizer steps in all. */
  readonly steps: number;
  /** Optimizer steps of an epoch. */
  readonly perEpoch: number;
}
