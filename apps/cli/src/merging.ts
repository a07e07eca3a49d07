/** @file Folding a session's adapters into its model, and measuring that nothing changed by it. */

import { logitsOf, saveModel } from "@graftml/models";
import { type Base, declareBase, merge, type NamedValues, rngOf } from "@graftml/peft";
import type { Runtime, Values } from "@graftml/tensor";
import { declareSession, type Session } from "./session.ts";

/** Largest difference between two sets of logits, and the largest logit of the first. */
export interface Difference {
  readonly difference: number;
  readonly largest: number;
}

/**
 * Writes the merged model, whole or not at all.
 * @throws {NotMergeable} if a method's change cannot be folded into weights.
 */
export async function writeMerged({ folder, loaded: { model, base }, stack }: Session, out: string): Promise<void> {
  const nothing: NamedValues = new Map();
  const merged = merge(
    model,
    base,
    stack.map(({ adapter, state = nothing }) => ({ adapter, state })),
  );
  await saveModel(out, model, merged, { companions: folder });
}

/** Rows and tokens of the batch that logits are compared on. */
const PROBE = { rows: 2, tokens: 24 } as const;

/** Compares logits of the attached adapters with those of a merged base, on random tokens. */
export async function compareMerged(runtime: Runtime, session: Session, merged: Base): Promise<Difference> {
  const { model } = session.loaded;
  const rng = rngOf(0, "probe batch");
  const tokens = Math.min(PROBE.tokens, model.info.maxLength);
  const probe = Array.from({ length: PROBE.rows }, () =>
    Array.from({ length: tokens }, () => Math.floor(rng.uniform() * model.info.vocabulary)),
  );
  const { store } = declareSession(runtime, session);
  const attached = await logitsOf({ runtime, store, model, adapters: session.stack.map((s) => s.adapter) }, probe);
  const other = runtime.store();
  declareBase(other, merged);
  const folded = await logitsOf({ runtime, store: other, model }, probe);
  return differenceOf(attached, folded);
}

function differenceOf(a: readonly Values[], b: readonly Values[]): Difference {
  let [difference, largest] = [0, 0];
  a.forEach((row, i) =>
    row.forEach((x: number, j: number) => {
      // NaN on either side must not pass for equal.
      const gap = Math.abs(x - (b[i]?.[j] ?? NaN));
      difference = gap > difference || Number.isNaN(gap) ? gap : difference;
      largest = Math.max(largest, Math.abs(x));
    }),
  );
  return { difference, largest };
}
