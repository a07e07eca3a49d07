/** @file One optimizer step: what is submitted, and what is told of it once its results are there. */
import type { Program, Source } from "@graftml/tensor";
import type { Changed } from "./checkpoint.ts";
import { positionAfter } from "./data.ts";
import { TrainError } from "./errors.ts";
import type { Resolved } from "./resolved.ts";
import type { StepEvent } from "./run.ts";
import type { BatchShape, Collated } from "./task.ts";
import type { Updates } from "./updates.ts";

/** A step whose results are there. */
export interface Finished extends Omit<StepEvent, "type" | "ms"> {
  /** When it was submitted and when it was over, in ms. */
  readonly from: number;
  readonly to: number;
}

/** A micro-batch and the program for its shape. */
export interface MicroBatch<Row> {
  readonly rows: readonly Row[];
  /** The rows' numbers. */
  readonly numbers: readonly number[];
  readonly shape: BatchShape;
  readonly program: Program;
}

/**
 * Submits the step that follows `done` steps; all of it is in the device's queue when this returns, but for updates, which say
 * themselves when they are (`Updates.queued`).
 * @param updates the update, where it is no part of the batches' programs.
 * @param began when the host began to prepare the step, in ms.
 */
export function submit<Batch, Row>(
  run: Resolved<Batch, Row>,
  done: number,
  batches: readonly MicroBatch<Row>[],
  updates: Updates,
  { restarted }: Changed,
  began: number,
): Promise<Finished> {
  const { optimizer, schedule } = run;
  const from = performance.now();
  const step = done + 1;
  const lr = run.lr * schedule.factor(done);
  const collated = batches.map((batch) => collate(run, done, batch));
  const total = (of: "labels" | "tokens"): number => collated.reduce((sum, batch) => sum + batch[of], 0);
  const common: Record<string, Source> = {
    ...scalarsAt(run, done),
    loss_weight: [1 / Math.max(1, total("labels"))], // by chance a step of masked language modelling may have none
    penalty_weight: [1 / batches.length],
    optimizer: optimizer.scalars(step - restarted, lr),
  };
  const results = batches.map(({ program }, i) =>
    program.run({ ...common, clock: clockOf(run, done, i), keep: [i === 0 ? 0 : 1], ...collated[i]?.inputs }),
  );
  results.push(updates.run(common));
  const hostMs = performance.now() - began;
  return Promise.all(results).then((outputs) => {
    const loss = outputs.reduce((sum, output) => sum + (output["loss"]?.[0] ?? 0), 0);
    const gradNorm = outputs.findLast((output) => "grad_norm" in output)?.["grad_norm"]?.[0] ?? NaN;
    const counts = { tokens: total("tokens"), labels: total("labels") };
    return { step, loss, gradNorm, lr, ...counts, hostMs, from, to: performance.now() };
  });
}

/** A micro-batch of the step that follows `done` steps as inputs. */
const collate = <Batch, Row>(
  { task, model, seed, dealing }: Resolved<Batch, Row>,
  done: number,
  { rows, numbers, shape }: MicroBatch<Row>,
): Collated =>
  task.collate(rows, shape, { model: model.info, draw: { seed, epoch: positionAfter(done, dealing).epoch, numbers } });

/** What methods compute on the host, by the names of the programs' inputs. */
const scalarsAt = <Batch, Row>({ facts, progressAt }: Resolved<Batch, Row>, done: number): Record<string, Source> =>
  Object.fromEntries([...facts.scalars].map(([name, at]) => [name, [at(progressAt(done))]]));

/** Every micro-batch has noise of its own. Step 0 is left to starting values, which are drawn from the same numbers. */
const clockOf = <Batch, Row>({ seed, accumulate }: Resolved<Batch, Row>, done: number, i: number): Source => [
  seed,
  done * accumulate + i + 1,
];

/**
 * Computes the gradients of one micro-batch alone, the `i`-th of the step that follows `done` steps; the bucket of gradients
 * holds them afterwards.
 */
export async function measure<Batch, Row>(
  run: Resolved<Batch, Row>,
  done: number,
  i: number,
  batch: MicroBatch<Row>,
): Promise<void> {
  const { inputs, labels } = collate(run, done, batch);
  const weights = { loss_weight: [1 / Math.max(1, labels)], penalty_weight: [1] };
  await batch.program.run({ ...scalarsAt(run, done), ...weights, clock: clockOf(run, done, i), ...inputs });
}

/**
 * Makes events of finished steps, in order.
 * @throws {TrainError} if the loss or the gradients' norm is no number.
 */
export function teller(): (finished: Finished) => StepEvent {
  let last = 0;
  return ({ from, to, ...figures }) => {
    const { step, loss, gradNorm } = figures;
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
      throw new TrainError(
        `step ${step}: the loss is ${loss} and the gradients' norm ${gradNorm}, so training cannot go on. ` +
          "Checkpoints of earlier steps are intact. Lower the learning rate, add warmup or clip gradients.",
      );
    const ms = Math.max(0, to - Math.max(from, last));
    last = Math.max(last, to); // programs of different lengths may be told of their ends out of order
    return { type: "step", ...figures, ms };
  };
}
