/** @file A run's complete state: with it, a resumed run gives the bits of an uninterrupted one. */
import { StateError } from "@graftml/peft";
import type { Shape, Values } from "@graftml/tensor";

/** Values by name, in the precision in which the runtime keeps them: f32 on a device, f64 in the interpreter. */
export type State = ReadonlyMap<string, { readonly shape: Shape; readonly values: Values }>;

/** Everything a run needs to go on. Noise is a function of seed and step, so the two are the state of all generators. */
export interface Checkpoint {
  /** Optimizer steps done. */
  readonly step: number;
  readonly seed: number;
  /** The row that comes next. */
  readonly position: { readonly epoch: number; readonly index: number };
  /** What the run was made with, one value a key; a checkpoint of another run is refused. */
  readonly run: Readonly<Record<string, string | number | boolean>>;
  /** What adapters own, by its names. */
  readonly adapter: State;
  /** What the optimizer remembers, named `state/parameter`. */
  readonly optimizer: State;
}

/** Somewhere to keep checkpoints. */
export interface Checkpoints {
  /** Writes a checkpoint whole or not at all; returns where it lies. */
  save(checkpoint: Checkpoint): Promise<string>;
}

/**
 * Checks that a checkpoint is of this run.
 * @throws {StateError} naming every setting that differs.
 */
export function checkSameRun(checkpoint: Checkpoint, run: Checkpoint["run"]): void {
  const keys = new Set([...Object.keys(run), ...Object.keys(checkpoint.run)]);
  const differing = [...keys].filter((key) => run[key] !== checkpoint.run[key]);
  if (differing.length === 0) return;
  const lines = differing.map((key) => `${key} is ${show(checkpoint.run[key])} in the checkpoint and ${show(run[key])} in this run`);
  throw new StateError(
    `the checkpoint of step ${checkpoint.step} is of another run: ${lines.join("; ")}. Resume it with its own settings, or start anew without it.`,
  );
}

const show = (value: string | number | boolean | undefined): string => (value === undefined ? "absent" : String(value));
