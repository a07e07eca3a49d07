/** @file From an opened session to a run of the trainer, and the memory it needs. */
import { deviceBytes, type MemoryPlan, type Store } from "@graftml/tensor";
import { each, type Example, optimizers, packRows, planRun, type Rows, schedules, stepsIn } from "@graftml/trainer";
import { classesOf } from "./data/classes.ts";
import { layoutsOf } from "./data/columns.ts";
import { readRows } from "./data/read.ts";
import { gather, type Records } from "./data/records.ts";
import type { Row } from "./data/row.ts";
import { openSpool } from "./data/spool.ts";
import type { Opened } from "./device.ts";
import { UsageError } from "./errors.ts";
import { localData, type Split } from "./hub/local.ts";
import { stepsOf } from "./inputs.ts";
import { precisionOf } from "./precision.ts";
import { bytes, memory } from "./render.ts";
import type { Run } from "./schema.ts";
import { declareSession, type Session } from "./session.ts";
import { type AnyExample, type AnyRun, examplesFrom, taskOf } from "./tasks.ts";

/** A run's data as they stand in its files. */
export type SplitRecords = Readonly<Record<Split, Records>>;

/** Rows of a run's data files, of one split or of both. */
export async function readRecords(
  { task, data }: Run,
  splits: readonly Split[] = ["train", "eval"],
): Promise<SplitRecords> {
  const read = async (split: Split): Promise<Records> => {
    const files = data[split];
    if (files === undefined || !splits.includes(split)) return gather([]);
    const wanted = { columns: data.columns, layouts: layoutsOf[task] };
    const local = await localData(files, split);
    const classes = await classesOf(local[0] ?? "");
    const names = classes[data.columns?.label ?? "label"] ?? classes[data.columns?.tags ?? "tags"];
    return gather(readRows(local, wanted), { names, most: split === "eval" ? data.eval_rows : undefined });
  };
  return { train: await read("train"), eval: await read("eval") };
}

/** Rows of a run. */
export interface Data {
  readonly rows: Rows<AnyExample>;
  readonly heldOut: Rows<AnyExample>;
  /** Held-out rows as they stand in their files, for judging what is written for them. */
  readonly answered: Rows<Row>;
}

/** Examples of a run's data. */
export function examplesOf(session: Session, records: SplitRecords): Data {
  const { run, loaded } = session;
  const rows = examplesFrom(records.train, session, { told: false });
  return {
    rows:
      taskOf(session).packed === "data"
        ? packRows(textsOf(rows), Math.min(run.data.max_length, loaded.model.info.maxLength))
        : rows,
    heldOut: examplesFrom(records.eval, session, { told: true }),
    answered: records.eval,
  };
}

/** Rows of texts, put aside as they are: to pack them all are made before the first step. Images share no row. */
function textsOf(rows: Rows<AnyExample>): Rows<Example> {
  const texts = openSpool<Example>();
  for (const row of each(rows)) if ("ids" in row) texts.add(row);
  return texts;
}

/** The trainer's run of a session; parameters are made known to a store, nothing is allocated. */
export function trainerRun(
  session: Session,
  { runtime }: Opened,
  { rows, heldOut }: Pick<Data, "rows" | "heldOut">,
): AnyRun & { readonly store: Store } {
  const { run, loaded, stack } = session;
  const { train, data } = run;
  const { store, trainable } = declareSession(runtime, session);
  const { batch_size: batchSize, accumulate, betas, eps, weight_decay: weightDecay, warmup } = train;
  const [beta1, beta2] = betas;
  const steps = stepsOf(run, stepsIn({ rows: rows.length, batchSize, accumulate }));
  return {
    runtime,
    store,
    model: loaded.model,
    adapters: stack.map(({ adapter }) => adapter),
    task: taskOf(session),
    batchSize,
    precision: precisionOf(run),
    trainable,
    rows,
    heldOut,
    steps,
    accumulate,
    optimizer: named(optimizers, train.optimizer)({ betas: [beta1, beta2], eps, weightDecay }),
    lr: train.lr,
    schedule: named(schedules, train.schedule)({ steps, warmup }),
    maxGradNorm: train.max_grad_norm,
    seed: train.seed,
    shuffle: data.shuffle,
    bucket: data.bucket,
    checkpointActivations: train.checkpoint_activations,
    offloadActivations: train.offload_activations,
    pagedOptimizer: train.paged_optimizer,
    evalEvery: train.eval_every,
    saveEvery: train.save_every,
  };
}

/** A member that the run file's schema has checked to be there. */
function named<T>(known: Readonly<Record<string, T>>, name: string): T {
  const found = known[name];
  if (found === undefined) throw new UsageError(`${name} is none of ${Object.keys(known).join(", ")}.`);
  return found;
}

/**
 * Plans a run's memory: with a paged optimizer as if it were none, if that fits.
 * @throws {UsageError} if it is more than may be allocated, with the settings that would fit.
 */
export function planWithin(run: AnyRun, { cap, runtime }: Opened): MemoryPlan {
  const beside = planRun({ ...run, pagedOptimizer: false });
  if (deviceBytes(beside) <= cap) return beside;
  const apart = planRun({ ...run, pagedOptimizer: true });
  const plan = run.pagedOptimizer === true ? apart : beside;
  if (deviceBytes(plan) <= cap) return plan;
  const half = Math.ceil(run.batchSize / 2);
  const ways: readonly (readonly [string, Partial<AnyRun>])[] = [
    ...(deviceBytes(apart) <= cap ? [["train.paged_optimizer: true", { pagedOptimizer: true }] as const] : []),
    ["train.checkpoint_activations: true", { checkpointActivations: true }],
    [
      `train.batch_size: ${half} with train.accumulate: ${(run.accumulate ?? 1) * 2}`,
      { batchSize: half, accumulate: (run.accumulate ?? 1) * 2 },
    ],
    ["both", { checkpointActivations: true, batchSize: half, accumulate: (run.accumulate ?? 1) * 2 }],
  ];
  const advice = ways.map(([name, change]) => `${name} (${bytes(deviceBytes(planRun({ ...run, ...change })))})`);
  throw new UsageError(
    `the run needs ${memory(plan)}.\n${runtime.name} may give ${bytes(cap)} (train.device_memory). Try ${advice.join(", or ")}, or shorter rows (data.max_length); graft inspect --memory tries more.`,
  );
}
