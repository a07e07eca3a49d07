/** @file A run with every default filled in and checked: what all parts of the loop share. */
import type { Layer, Progress } from "@graftml/peft";
import { declareTraining, type TrainedBucket } from "./buckets.ts";
import type { Identity } from "./checkpoint.ts";
import { type Dealing, stepsIn } from "./data.ts";
import { digest } from "./digest.ts";
import { DataError, TrainError } from "./errors.ts";
import { adamw } from "./optim/adamw.ts";
import { checkRows, type Facts, factsOf } from "./program.ts";
import { listOf, numbersOf } from "./rows.ts";
import { type Choices, type Job, layersOf, type Run } from "./run.ts";
import { constant } from "./schedule.ts";
import { shapeFor } from "./shapes.ts";
import type { BatchShape } from "./task.ts";

/** A run ready to be traced. */
export interface Resolved<Batch, Row> extends Job<Batch, Row>, Choices {
  readonly layers: readonly Layer[];
  readonly facts: Facts;
  readonly dealing: Dealing;
  readonly buckets: readonly TrainedBucket[];
  /** How far the run is after `done` steps. */
  readonly progressAt: (done: number) => Progress;
  /** Shape of a batch of the given rows. */
  readonly shapeFor: (rows: readonly Row[]) => BatchShape;
}

/**
 * Fills in defaults, checks every row that is there and makes gradients and moments known to the store; nothing is allocated.
 * @throws {TrainError} for settings that make no sense, {DataError} for a row that cannot be used.
 */
export function resolve<Batch, Row>(run: Run<Batch, Row>): Resolved<Batch, Row> {
  const filled = {
    accumulate: 1,
    optimizer: adamw(),
    schedule: constant(),
    maxGradNorm: 1,
    seed: 0,
    shuffle: true,
    bucket: false,
    checkpointActivations: false,
    offloadActivations: false,
    pagedOptimizer: false,
    evalEvery: 0,
    saveEvery: 0,
    ...run,
  };
  const { store, batchSize, accumulate, rows, heldOut = [] } = filled;
  check(filled);
  const layers = layersOf(run.adapters, filled);
  const facts = factsOf(run, layers);
  checkRows(run, rows, rows.lazy?.longest ?? numbersOf(rows), "row", facts);
  checkRows(run, heldOut, heldOut.lazy?.longest ?? numbersOf(heldOut), "held-out row", facts);
  const dealing = { rows: rows.length, batchSize, accumulate };
  const perEpoch = stepsIn(dealing);
  return {
    ...filled,
    layers,
    facts,
    dealing,
    progressAt: (step) => ({ step, steps: filled.steps, perEpoch }),
    buckets: declareTraining(store, run.trainable, filled.optimizer),
    shapeFor: (some) => shapeFor(run, facts, some),
  };
}

function check<Batch, Row>(run: Job<Batch, Row> & Choices): void {
  const { rows, trainable, lr, maxGradNorm, seed } = run;
  if (rows.length === 0) throw new DataError("there is no row to train on.");
  if (trainable.length === 0)
    throw new TrainError("there is nothing to train: no adapter of the stack owns a trainable parameter.");
  const least = { batchSize: 1, accumulate: 1, steps: 1, evalEvery: 0, saveEvery: 0 } as const;
  for (const key of ["batchSize", "accumulate", "steps", "evalEvery", "saveEvery"] as const)
    if (!Number.isInteger(run[key]) || run[key] < least[key])
      throw new TrainError(`${key} is ${run[key]}; it must be a whole number of at least ${least[key]}.`);
  if (!(lr >= 0 && Number.isFinite(lr))) throw new TrainError(`lr is ${lr}; it must be a number of at least 0.`);
  if (!(maxGradNorm >= 0))
    throw new TrainError(`maxGradNorm is ${maxGradNorm}; it must be at least 0, which turns clipping off.`);
  if (run.offloadActivations && !run.checkpointActivations)
    throw new TrainError(
      "offloadActivations takes to the host what recomputed blocks are given: it needs checkpointActivations: true.",
    );
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    throw new TrainError(`seed is ${seed}; it must be a whole number below 2³².`);
}

/** Whatever decides the bits of a run. */
export function identityOf<Batch, Row>(run: Resolved<Batch, Row>): Identity {
  const {
    task,
    model,
    steps,
    batchSize,
    accumulate,
    lr,
    maxGradNorm,
    seed,
    shuffle,
    bucket,
    rows,
    trainable,
    optimizer,
    schedule,
    precision = "f32",
  } = run;
  const under = (name: string, settings: Identity): Identity =>
    Object.fromEntries(Object.entries(settings).map(([key, value]) => [`${name}.${key}`, value]));
  const parameters = trainable.flatMap((bucket) =>
    bucket.members.map(({ name, shape, lrScale, decay }) => [name, shape, lrScale, decay]),
  );
  return {
    task: task.name,
    model: model.info.architecture,
    trainable: `${parameters.length} parameters, ${digest(parameters)}`,
    data: `${rows.length} rows, ${rows.lazy?.digest ?? digest(listOf(rows))}`,
    shuffle,
    bucket,
    steps,
    batch_size: batchSize,
    accumulate,
    lr,
    optimizer: optimizer.name,
    ...under("optimizer", optimizer.settings),
    schedule: schedule.name,
    ...under("schedule", schedule.settings),
    max_grad_norm: maxGradNorm,
    seed,
    precision,
  };
}
