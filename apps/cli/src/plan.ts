/** @file From an opened session to a run of the trainer, and the memory it needs. */
import type { MemoryPlan, Store } from "@graftml/tensor";
import {
  causalLm,
  type Example,
  optimizers,
  planRun,
  type Run as TrainerRun,
  schedules,
  stepsIn,
} from "@graftml/trainer";
import { encodeRows } from "./data/encode.ts";
import type { Opened } from "./device.ts";
import { UsageError } from "./errors.ts";
import { localData, type Split } from "./hub/local.ts";
import { stepsOf } from "./inputs.ts";
import { bytes, memory, totalBytes } from "./render.ts";
import { declareSession, type Session } from "./session.ts";

/** Rows of a run. */
export interface Data {
  readonly rows: readonly Example[];
  readonly heldOut: readonly Example[];
}

/** Reads a run's data files and turns them into tokens. */
export async function readData({ run, loaded }: Session): Promise<Data> {
  const { train, eval: held } = run.data;
  const read = async (files: typeof train, split: Split): Promise<readonly Example[]> =>
    files === undefined ? [] : encodeRows(await localData(files, split), run, loaded);
  return { rows: await read(train, "train"), heldOut: await read(held, "eval") };
}

/** The trainer's run of a session; parameters are made known to a store, nothing is allocated. */
export function trainerRun(
  session: Session,
  { runtime }: Opened,
  { rows, heldOut }: Data,
): TrainerRun & { readonly store: Store } {
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
    task: causalLm,
    batchSize,
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
    checkpointActivations: train.checkpoint_activations,
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
 * Plans a run's memory.
 * @throws {UsageError} if it is more than may be allocated, with the settings that would fit.
 */
export function planWithin(run: TrainerRun, { cap, runtime }: Opened): MemoryPlan {
  const plan = planRun(run);
  if (totalBytes(plan) <= cap) return plan;
  const half = Math.ceil(run.batchSize / 2);
  const ways: readonly (readonly [string, Partial<TrainerRun>])[] = [
    ["train.checkpoint_activations: true", { checkpointActivations: true }],
    [
      `train.batch_size: ${half} with train.accumulate: ${(run.accumulate ?? 1) * 2}`,
      { batchSize: half, accumulate: (run.accumulate ?? 1) * 2 },
    ],
    ["both", { checkpointActivations: true, batchSize: half, accumulate: (run.accumulate ?? 1) * 2 }],
  ];
  const advice = ways.map(([name, change]) => `${name} (${bytes(totalBytes(planRun({ ...run, ...change })))})`);
  throw new UsageError(
    `the run needs ${memory(plan)}.\n${runtime.name} may give ${bytes(cap)} (train.device_memory). Try ${advice.join(", or ")}, or shorter rows (data.max_length).`,
  );
}
