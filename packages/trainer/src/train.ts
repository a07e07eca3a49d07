/** @file The loop: deals rows out to steps, keeps the device busy, and tells what happens. */
import { releaseTraining } from "./buckets.ts";
import { type Changed, checkSameRun, restoreState, stateBlocks, takeState } from "./checkpoint.ts";
import { comingBatches, dealer, positionAfter } from "./data.ts";
import { evaluator } from "./evaluate.ts";
import { InFlight, LATE } from "./in-flight.ts";
import { dueAt, hold, writeRates } from "./pausing.ts";
import { buildsOf } from "./plan.ts";
import { checkRows } from "./program.ts";
import { identityOf, resolve } from "./resolved.ts";
import { longestOf, rowsAt } from "./rows.ts";
import type { Run, TrainEvent } from "./run.ts";
import { byShape } from "./shapes.ts";
import { type Finished, measure, type MicroBatch, submit, teller } from "./step.ts";
import { roomy, type Updates, updatesOf } from "./updates.ts";

type Events = AsyncGenerator<TrainEvent, void, undefined>;

/**
 * Trains, telling every step, evaluation and checkpoint as it happens; `break` ends the run. Steps are told two late, so that
 * the device never waits for the host: batches are prepared while it works.
 *
 * @throws {TrainError} if a loss or a gradient is no number: nothing is saved after that, earlier checkpoints stand.
 * @throws {StateError} if the checkpoint to resume is of another run, naming what differs.
 * @throws {DataError} if a row cannot be used: before the first step, or where rows are made as they are needed, when it is met.
 *
 * @example
 * for await (const event of train({ runtime, store, model, adapters: [adapter], trainable, task: causalLm, rows, ... }))
 *   if (event.type === "step") console.log(event.step, event.loss);
 */
export async function* train<Batch, Row>(given: Run<Batch, Row>): Events {
  const run = resolve(given);
  const { store, steps, rows, heldOut = [], resume, checkpoints, signal } = run;
  const identity = identityOf(run);
  const blocks = stateBlocks(run.adapters, run.optimizer, run.buckets);
  const { gradients, measured, updates: apart } = buildsOf(run);
  const updates: Updates = updatesOf(run, apart, freePrograms);
  const runtime = run.pagedOptimizer ? roomy(run.runtime, updates.park) : run.runtime;
  const programs = byShape((shape) => runtime.compile(store, gradients(shape)));
  const measuring = byShape((shape) => runtime.compile(store, (measured ?? gradients)(shape)));
  const evaluations = evaluator({ ...run, runtime }, run.layers, run.facts);
  const deal = dealer({
    ...run.dealing,
    seed: run.seed,
    shuffle: run.shuffle,
    ...(run.bucket && { lengthOf: (i: number) => run.task.size(rows.at(i) as Row).length }), // dealt out of their number
  });
  const flight = new InFlight<Finished>();
  const asEvent = teller();
  let done = 0;
  let saved = -1;
  let gradNorm: number | null = null;
  let changed: Changed = { restarted: 0, lrScale: {} };

  /** Gives back the memory of whatever is compiled again when it is needed. */
  async function freePrograms(): Promise<void> {
    for (const compiled of [programs, measuring, evaluations]) await compiled.dispose();
  }
  async function* tell({ keep }: { readonly keep: number }): Events {
    for await (const finished of flight.take({ keep })) {
      gradNorm = finished.gradNorm;
      yield asEvent(finished);
    }
  }
  /** Lets methods do what they have to between steps. */
  async function* pause(): Events {
    if (!dueAt(run, run.progressAt(done))) return;
    yield* tell({ keep: 0 });
    changed = await hold(run, done, gradNorm, changed, async (ahead) => {
      const batches = comingBatches(deal, done, ahead + 1);
      const { step, index, numbers } = batches[ahead] ?? { step: done, index: 0, numbers: [] };
      await measure(run, step, index, await batchOf(numbers, measuring));
    });
  }
  async function batchOf(numbers: readonly number[], compiled: typeof programs): Promise<MicroBatch<Row>> {
    if (rows.lazy !== undefined) checkRows(run, rows, numbers, "row", run.facts);
    const batch = rowsAt(rows, numbers);
    const shape = run.shapeFor(batch);
    return { rows: batch, numbers, shape, program: await compiled.get(shape) };
  }
  async function* save(): Events {
    if (checkpoints === undefined || saved === done) return;
    const path = await checkpoints.save({
      step: done,
      seed: run.seed,
      position: positionAfter(done, run.dealing),
      run: identity,
      changed,
      adapter: await takeState(store, blocks.adapter),
      optimizer: await takeState(store, blocks.optimizer),
    });
    saved = done;
    yield { type: "checkpoint", step: done, path };
  }
  async function* evaluate(): Events {
    if (heldOut.length === 0) return;
    const figures = await evaluations.run(heldOut, run.progressAt(done), signal).catch((error: unknown) => {
      if (error !== signal?.reason) throw error;
      return null; // interrupted
    });
    if (figures !== null) yield { type: "eval", step: done, eval: figures };
  }

  try {
    if (resume !== undefined) {
      checkSameRun(resume, identity);
      await restoreState(store, blocks.adapter, resume.adapter);
      await restoreState(store, blocks.optimizer, resume.optimizer, { park: run.pagedOptimizer });
      changed = resume.changed;
      await writeRates(store, run.buckets, changed.lrScale);
      done = saved = resume.step;
    }
    // Before the first step, all that the longest batches need: no later one needs more.
    await programs.get(run.shapeFor(longestOf(rows)));
    if (measured !== null) await measuring.get(run.shapeFor(longestOf(rows)));
    await updates.prepare();
    if (heldOut.length > 0) await evaluations.prepare(heldOut);
    if (resume === undefined) yield* pause();
    const due = (every: number): boolean => every > 0 && done % every === 0;
    const interrupted = (): boolean => signal?.aborted === true;
    while (done < steps && !interrupted()) {
      const began = performance.now();
      const batches: MicroBatch<Row>[] = [];
      for (const numbers of deal(done)) batches.push(await batchOf(numbers, programs));
      flight.push(submit(run, done, batches, updates, changed, began));
      await updates.queued();
      done++;
      yield* tell({ keep: LATE });
      yield* pause();
      if (!due(run.saveEvery) && !due(run.evalEvery)) continue;
      yield* tell({ keep: 0 });
      if (due(run.saveEvery)) yield* save();
      if (due(run.evalEvery) && done < steps) yield* evaluate();
    }
    yield* tell({ keep: 0 });
    if (!interrupted()) yield* evaluate();
    if (interrupted()) yield* save();
    else yield { type: "done", step: done };
  } finally {
    await flight.settled();
    updates.dispose();
    await freePrograms();
    releaseTraining(store, run.buckets);
  }
}
