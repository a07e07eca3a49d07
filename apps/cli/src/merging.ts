/** @file Folding a session's adapters into its model, and measuring that nothing changed by it. */

import { probeLogits, saveModel } from "@graftml/models";
import { type Base, declareBase, merge, type NamedValues } from "@graftml/peft";
import type { Runtime, Values } from "@graftml/tensor";
import { declareSession, type Session } from "./session.ts";

/** Largest difference between two sets of logits, and the largest logit of the first. */
export interface Difference {
  readonly difference: number;
  readonly largest: number;
}

/**
 * The base with all of a session's adapters folded in.
 * @throws {NotMergeable} if a method's change cannot be folded into weights.
 */
export function mergedBase({ loaded: { model, base }, stack }: Session): Base {
  const nothing: NamedValues = new Map();
  return merge(
    model,
    base,
    stack.map(({ adapter, state = nothing }) => ({ adapter, state })),
  );
}

/**
 * Writes the merged model, whole or not at all.
 * @throws {NotMergeable} if a method's change cannot be folded into weights.
 */
export const writeMerged = (session: Session, out: string): Promise<void> =>
  saveModel(out, session.loaded.model, mergedBase(session), { companions: session.folder });

/** Rows and tokens of the batch that logits are compared on. */
const PROBE = { rows: 2, tokens: 24 } as const;

/** Compares logits of the attached adapters with those of a merged base, on a random batch. */
export async function compareMerged(runtime: Runtime, session: Session, merged: Base): Promise<Difference> {
  const { model } = session.loaded;
  const size = { batch: PROBE.rows, length: Math.min(PROBE.tokens, model.info.maxLength) };
  const { store } = declareSession(runtime, session);
  const adapters = session.stack.map((s) => s.adapter);
  const attached = await probeLogits({ runtime, store, model, adapters }, size);
  const other = runtime.store();
  declareBase(other, merged);
  return differenceOf(attached, await probeLogits({ runtime, store: other, model }, size));
}

function differenceOf(a: Values, b: Values): Difference {
  let [difference, largest] = [0, 0];
  a.forEach((x: number, i: number) => {
    // NaN on either side must not pass for equal.
    const gap = Math.abs(x - (b[i] ?? NaN));
    difference = gap > difference || Number.isNaN(gap) ? gap : difference;
    largest = Math.max(largest, Math.abs(x));
  });
  return { difference, largest };
}
