/** @file Folding a session's adapters into its model, and measuring that nothing changed by it. */

import { type LoadedModel, probeLogits, saveModel, type Setup } from "@graftml/models";
import {
  adapt,
  type Base,
  type CheckpointWriter,
  declareAdapter,
  declareBase,
  merge,
  type NamedValues,
} from "@graftml/peft";
import type { Runtime, Values } from "@graftml/tensor";
import { evaluate, type Rows } from "@graftml/trainer";
import { declareSession, type Session } from "./session.ts";
import { type AnyExample, taskOf } from "./tasks.ts";

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
 * @param format how weights are stored; in full if absent.
 * @throws {NotMergeable} if a method's change cannot be folded into weights.
 */
export const writeMerged = (session: Session, out: string, format?: CheckpointWriter): Promise<void> =>
  saveModel(out, session.loaded.model, mergedBase(session), {
    companions: session.folder,
    ...(format && { format }),
  });

/** A merged model that was read back, in the form in which its checkpoint stores it. */
export type Merged = Pick<LoadedModel, "model" | "base" | "methods">;

/** The two models to compare, made known to stores of a runtime. */
function bothIn(runtime: Runtime, session: Session, { model, base, methods }: Merged): readonly [Setup, Setup] {
  const { store } = declareSession(runtime, session);
  const adapters = session.stack.map((s) => s.adapter);
  const other = runtime.store();
  declareBase(other, base);
  const storing = methods.length === 0 ? [] : [adapt(model, methods, { id: "base", trainable: false })];
  for (const adapter of storing) declareAdapter(other, adapter, base, { seed: 0 });
  return [
    { runtime, store, model: session.loaded.model, adapters },
    { runtime, store: other, model, adapters: storing },
  ];
}

/** Rows and tokens of the batch that logits are compared on. */
const PROBE = { rows: 2, tokens: 24 } as const;

/** Compares logits of the attached adapters with those of a merged model, on a random batch. */
export async function compareMerged(runtime: Runtime, session: Session, merged: Merged): Promise<Difference> {
  const { model } = session.loaded;
  const size = { batch: PROBE.rows, length: Math.min(PROBE.tokens, model.info.maxLength) };
  const [attached, other] = bothIn(runtime, session, merged);
  return differenceOf(await probeLogits(attached, size), await probeLogits(other, size));
}

/** Loss of rows with the adapters attached, and merged. */
export async function lossesOf(
  runtime: Runtime,
  session: Session,
  merged: Merged,
  rows: Rows<AnyExample>,
): Promise<{ readonly attached: number; readonly merged: number }> {
  const setting = { task: taskOf(session), batchSize: session.run.train.batch_size };
  const loss = async ({ adapters = [], ...setup }: Setup): Promise<number> =>
    (await evaluate({ ...setup, adapters, ...setting }, rows)).loss;
  const [attached, other] = bothIn(runtime, session, merged);
  return { attached: await loss(attached), merged: await loss(other) };
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
