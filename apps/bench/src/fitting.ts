/** @file Training a small model in few lines: an adapter on what lies below it, what is left of it, and how good that is. */
import {
  adapt,
  type Adapter,
  type Base,
  declareAdapter,
  declareBase,
  type Loaded,
  merge,
  type Model,
  readState,
} from "@graftml/peft";
import { full } from "@graftml/surgical";
import type { Runtime, Source } from "@graftml/tensor";
import { type Checkpoint, type Evaluation, evaluate, linear, type Task, train } from "@graftml/trainer";
import { randomWeights } from "./random.ts";

/** A model with its values, on a device, and what it is for. */
export interface Subject<Batch, Row> {
  readonly runtime: Runtime;
  readonly model: Model<Batch>;
  readonly base: Base;
  readonly task: Task<Batch, Row>;
  /** What lies below, innermost first; it stays as it is. */
  readonly below?: readonly Loaded[];
}

/** How long something is trained, and on what. */
export interface Lesson<Row> {
  readonly rows: readonly Row[];
  readonly batch: number;
  readonly steps: number;
  /** Of AdamW; falls to 0 on a line, after a tenth of the steps. */
  readonly lr: number;
  readonly seed: number;
}

type Rates = Checkpoint["changed"]["lrScale"];

/** What training left. */
export interface Fitted extends Loaded {
  /** Factors that a method put on learning rates before the first step, by parameter; {} where none did. */
  readonly rates: Rates;
}

/** Trains an adapter. */
export async function fit<Batch, Row>(
  { runtime, model, base, task, below = [] }: Subject<Batch, Row>,
  adapter: Adapter,
  { rows, batch, steps, lr, seed }: Lesson<Row>,
): Promise<Fitted> {
  const store = runtime.store();
  declareBase(store, base);
  for (const { adapter: frozen, state } of below) declareAdapter(store, frozen, base, { seed, state });
  const trainable = declareAdapter(store, adapter, base, { seed });
  const adapters = [...below.map((l) => l.adapter), adapter];
  let rates: Rates | undefined;
  const save = async ({ changed }: Checkpoint): Promise<string> => {
    rates ??= changed.lrScale; // those of the first epoch; every epoch finds its own
    return "";
  };
  const measured = adapter.methods.some((m) => m.between !== undefined);
  const early = Math.max(1, Math.ceil(rows.length / batch) - 1); // before the first epoch ends
  const schedule = linear({ steps, warmup: Math.ceil(steps / 10) });
  const run = { runtime, store, model, adapters, trainable, task, rows, batchSize: batch, steps, lr, schedule, seed };
  const bucket = task.packed === undefined;
  for await (const _ of train({ ...run, bucket, checkpoints: { save }, saveEvery: measured ? early : 0 }));
  const state = await readState(store, adapter);
  return { adapter, state, rates: rates ?? {} };
}

/** How good a model is on rows, with what lies on it. */
export function judge<Batch, Row>(
  { runtime, model, base, task, below = [] }: Subject<Batch, Row>,
  rows: readonly Row[],
  batch: number,
): Promise<Evaluation> {
  const store = runtime.store();
  declareBase(store, base);
  for (const { adapter, state } of below)
    declareAdapter(store, { ...adapter, trainable: false }, base, { seed: 0, state });
  return evaluate({ runtime, store, model, adapters: below.map((l) => l.adapter), task, batchSize: batch }, rows);
}

/** A base after all of it has been trained, with its values in memory. */
export async function pretrained<Batch, Row>(subject: Subject<Batch, Row>, lesson: Lesson<Row>): Promise<Base> {
  const { model, base } = subject;
  const trained = merge(model, base, [await fit(subject, adapt(model, [full()]), lesson)]);
  const values = new Map<string, Source>();
  for (const name of trained.names()) values.set(name, await trained.read(name));
  return { ...base, read: async (name) => values.get(name) ?? base.read(name) };
}

/** A base for another task: a head, and what else it lacks, is drawn. */
export function withHead(
  model: Model,
  base: Base,
  seed: number,
): { readonly base: Base; readonly drawn: readonly string[] } {
  const fresh = randomWeights(model, seed);
  const known = new Set(base.names());
  return {
    base: { ...fresh, read: (name) => (known.has(name) ? base : fresh).read(name) },
    drawn: [...fresh.names()].filter((name) => !known.has(name)),
  };
}
