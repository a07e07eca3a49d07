/** @file The loss on held-out rows: a mean over all of their labels, not over batches. */
import type { Layer, Progress } from "@graftml/peft";
import { paddedLength } from "./data.ts";
import { DataError, TrainError } from "./errors.ts";
import { InFlight, LATE } from "./in-flight.ts";
import { byLength, checkRows, type Facts, factsOf, traceLoss } from "./program.ts";
import { type Evaluation, layersOf, type Setting } from "./run.ts";
import type { BatchShape } from "./task.ts";

/** Evaluates again and again with the programs of the first time. */
export interface Evaluator<Row> {
  /** Allocates what the longest of these rows needs. */
  prepare(rows: readonly Row[]): Promise<void>;
  /** @throws {TrainError} if the loss is no number; the signal's reason if that is given before the end. */
  run(rows: readonly Row[], progress: Progress, signal?: AbortSignal): Promise<Evaluation>;
  dispose(): Promise<void>;
}

/** Makes an evaluator of a model with its adapters as they are in the store at the time. */
export function evaluator<Batch, Row>(
  setting: Setting<Batch, Row>,
  layers: readonly Layer[],
  facts: Facts,
): Evaluator<Row> {
  const { runtime, store, model, task, batchSize } = setting;
  const shapeOf = (length: number): BatchShape => ({ batch: batchSize, length, lead: facts.lead });
  const programs = byLength((length) =>
    runtime.compile(store, (trace) => ({
      loss: traceLoss(trace, setting, layers, shapeOf(length), { train: false }).loss,
    })),
  );
  const lengthFor = (rows: readonly Row[]): number =>
    paddedLength(
      rows.reduce((longest, row) => Math.max(longest, task.length(row)), 1),
      model.info.maxLength,
    );
  return {
    prepare: async (rows) => void (await programs.get(lengthFor(rows))),
    run: async (rows, progress, signal) => {
      // Rows of like length together: less padding, and the sum is over all of them anyway.
      const sorted = rows.toSorted((a, b) => task.length(a) - task.length(b));
      const scalars = Object.fromEntries([...facts.scalars].map(([name, at]) => [name, [at(progress)]]));
      const flight = new InFlight<number>();
      let [total, labels] = [0, 0];
      const settle = async (keep: number): Promise<void> => {
        for await (const sum of flight.take({ keep })) total += sum;
      };
      try {
        for (let start = 0; start < sorted.length; start += batchSize) {
          signal?.throwIfAborted();
          const batch = sorted.slice(start, start + batchSize);
          const length = lengthFor(batch);
          const program = await programs.get(length);
          const collated = task.collate(batch, shapeOf(length));
          labels += collated.labels;
          const outputs = program.run({ clock: [0, 0], ...scalars, ...collated.inputs });
          flight.push(outputs.then(({ loss }) => loss?.[0] ?? NaN));
          await settle(LATE);
        }
        await settle(0);
      } finally {
        await flight.settled();
      }
      const loss = total / labels;
      if (!Number.isFinite(loss))
        throw new TrainError(`evaluation: the loss over ${labels} labels of ${rows.length} rows is ${loss}.`);
      return { loss, perplexity: Math.exp(loss) };
    },
    dispose: programs.dispose,
  };
}

/**
 * Mean loss and perplexity of rows, with every row's labels weighing the same wherever batches end.
 * @throws {DataError} if a row cannot be used; the signal's reason if that is given before the end.
 */
export async function evaluate<Batch, Row>(
  setting: Setting<Batch, Row>,
  rows: readonly Row[],
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<Evaluation> {
  if (rows.length === 0) throw new DataError("there is no row to evaluate on.");
  const layers = layersOf(setting.adapters);
  const facts = factsOf(setting, layers);
  checkRows(setting, rows, "row", facts);
  const once = evaluator(setting, layers, facts);
  try {
    await once.prepare(rows);
    return await once.run(rows, { step: 0, steps: 0, perEpoch: 0 }, signal);
  } finally {
    await once.dispose();
  }
}
