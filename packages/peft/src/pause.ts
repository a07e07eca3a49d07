/** @file What a method does on the host between optimizer steps: measuring, moving a budget, cutting down to one. */
import type { Source, Values } from "@graftml/tensor";
import type { Progress } from "./progress.ts";
import type { Owned } from "./scope.ts";

/** Training held between two steps, as a method sees it. */
export interface Pause {
  readonly progress: Progress;
  /** What the method owns, trained or not, in the order the model meets it. */
  readonly owned: readonly Owned[];
  /** Values now. */
  value(owned: Owned): Promise<Values>;
  /** Gradient of the step just done, clipped as the optimizer used it; zeros before the first. */
  gradient(owned: Owned): Promise<Values>;
  /**
   * Gradients of micro-batches to come, one after another, without a step: of the mean loss of the batch alone. `gradient`
   * is of that batch until the next is asked for.
   */
  measure(batches: number): AsyncIterable<void>;
}

/** What a method changes while training is held. */
export interface Changes {
  /** New values, also of what is not trained: a mask, a statistic. */
  readonly values?: ReadonlyMap<Owned, Source>;
  /** Factors on the learning rate, from now on. */
  readonly lrScale?: ReadonlyMap<Owned, number>;
  /** Whether the optimizer forgets what it remembers and counts its steps anew. */
  readonly restart?: boolean;
}

/** Work between steps. */
export interface Between {
  /** Whether `act` measures gradients of batches to come: a program for that is then compiled before the first step. */
  readonly measures?: boolean;
  /** Whether training is held here: after `progress.step` steps, before the first (0) and after the last included. */
  due(progress: Progress): boolean;
  act(pause: Pause): Promise<Changes> | Changes;
}
