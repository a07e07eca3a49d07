/** @file Holding training between two steps, for methods that have work to do on the host. */
import type { Adapted, Between, Changes, Owned, Pause, Progress } from "@graftml/peft";
import { sizeOf, type Source, type Store } from "@graftml/tensor";
import { gradientOf, ratesOf, type TrainedBucket } from "./buckets.ts";
import type { Changed } from "./checkpoint.ts";
import { clipFactorOf } from "./clip.ts";
import type { Resolved } from "./resolved.ts";

/** A method that works between steps, and what it owns. */
interface Worker {
  readonly between: Between;
  readonly owned: readonly Owned[];
}

/** Methods of a run's trained adapters that work between steps. */
const workersOf = <Batch, Row>({ adapters }: Resolved<Batch, Row>): readonly Worker[] =>
  adapters
    .filter((adapter) => adapter.trainable)
    .flatMap(({ methods, owned }) =>
      methods.flatMap(({ between, adaptation }: Adapted) =>
        between === undefined ? [] : [{ between, owned: owned.filter((o) => o.layer.adaptation === adaptation) }],
      ),
    );

/** Whether any method of the run measures gradients between steps. */
export const measures = <Batch, Row>(run: Resolved<Batch, Row>): boolean =>
  workersOf(run).some(({ between }) => between.measures === true);

/** Whether training is to be held after so many steps. */
export const dueAt = <Batch, Row>(run: Resolved<Batch, Row>, progress: Progress): boolean =>
  workersOf(run).some(({ between }) => between.due(progress));

/**
 * Lets every method that is due act, inner ones first, and carries out what it says.
 * @param gradNorm of the step just done, before clipping; null before the first.
 * @param measure computes the gradients of the micro-batch that comes `ahead` batches after the next one.
 * @returns the settings as they are from now on.
 */
export async function hold<Batch, Row>(
  run: Resolved<Batch, Row>,
  done: number,
  gradNorm: number | null,
  changed: Changed,
  measure: (ahead: number) => Promise<void>,
): Promise<Changed> {
  const { store, buckets, maxGradNorm } = run;
  const progress = run.progressAt(done);
  let now = changed;
  for (const { between, owned } of workersOf(run)) {
    if (!between.due(progress)) continue;
    let factor = gradNorm === null ? 0 : clipFactorOf(gradNorm, maxGradNorm);
    const pause: Pause = {
      progress,
      owned,
      value: ({ name }) => store.read(name),
      gradient: async ({ name }) => (await store.read(gradientOf(name))).map((g) => g * factor),
      async *measure(batches) {
        for (let ahead = 0; ahead < batches; ahead++) {
          await measure(ahead);
          factor = 1;
          yield;
        }
      },
    };
    now = await carryOut(store, buckets, done, now, await between.act(pause));
  }
  return now;
}

async function carryOut(
  store: Store,
  buckets: readonly TrainedBucket[],
  done: number,
  changed: Changed,
  { values = new Map<Owned, Source>(), lrScale, restart = false }: Changes,
): Promise<Changed> {
  for (const [{ name }, source] of values) await store.write(name, source);
  if (restart)
    for (const name of buckets.flatMap(({ state }) => state))
      await store.write(name, new Float32Array(sizeOf(store.declaration(name).shape)));
  const scales = {
    ...changed.lrScale,
    ...Object.fromEntries([...(lrScale ?? [])].map(([{ name }, factor]) => [name, factor])),
  };
  if (lrScale !== undefined) await writeRates(store, buckets, scales);
  return { restarted: restart ? done : changed.restarted, lrScale: scales };
}

/** Puts changed factors on the learning rate where updates read them. */
export async function writeRates(
  store: Store,
  buckets: readonly TrainedBucket[],
  scales: Changed["lrScale"],
): Promise<void> {
  for (const { bucket, rates } of buckets) await store.write(rates, ratesOf(bucket, scales));
}
