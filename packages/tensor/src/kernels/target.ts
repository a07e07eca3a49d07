/** @file What kernels know of the adapter they are made for. */

/** The class of an adapter, as far as it decides which kernel is fast. */
export interface Target {
  /**
   * `lanes`: a CPU in disguise (lavapipe, SwiftShader): one subgroup per workgroup, values broadcast in registers, no
   * shared memory and no barriers. `tiles`: a GPU: shared-memory tiles.
   */
  readonly family: "lanes" | "tiles";
  /** Subgroup size where it is fixed and subgroups may be used, else 0. The `lanes` family always has it. */
  readonly subgroup: number;
  /** Largest storage binding in bytes. */
  readonly maxBinding: number;
  /** Largest number of workgroups along one axis of a dispatch. */
  readonly maxWorkgroups: number;
}

/** Threads that share one row in a reduction: a subgroup on the software adapter, a workgroup with shared memory on a GPU. */
export const rowThreads = (target: Target): number => (target.family === "lanes" ? target.subgroup : 64);
