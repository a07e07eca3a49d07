/** @file The loss and other figures of held-out rows, over all of them, not over batches. */
import type { Layer, Progress } from "@graftml/peft";
import type { Values } from "@graftml/tensor";
import { DataError, TrainError } from "./errors.ts";
import { InFlight, LATE } from "./in-flight.ts";
import { checkRows, type Facts, factsOf, tracePass } from "./program.ts";
import { each, longestOf, numbersOf, type Rows, rowsAt } from "./rows.ts";
import { type Evaluation, layersOf, type Setting } from "./run.ts";
import { byShape, shapeFor } from "./shapes.ts";

/** Evaluates again and again with the programs of the first time. */
export interface Evaluator<Row> {
  /** Allocates what the longest of these rows needs. */
  prepare(rows: Rows<Row>): Promise<void>;
  /** @throws {TrainError} if the loss is no number; the signal's reason if that is given before the end. */
  run(rows: Rows<Row>, progress: Progress, signal?: AbortSignal): Promise<Evaluation>;
  dispose(): Promise<void>;
}

/** Makes an evaluator of a model with its adapters as they are in the store at the time. */
export function evaluator<Batch, Row>(
  setting: Setting<Batch, Row>,
  layers: readonly Layer[],
  facts: Facts,
): Evaluator<Row> {
  const { runtime, store, model, task, batchSize } = setting;
  const programs = byShape((shape) =>
    runtime.compile(store, (trace) => {
      const { census: _, ...outputs } = tracePass(trace, setting, layers, shape, { train: false });
      return outputs;
    }),
  );
  return {
    prepare: async (rows) => void (await programs.get(shapeFor(setting, facts, longestOf(rows)))),
    run: async (rows, progress, signal) => {
      const lengths = new Uint32Array(rows.length);
      let i = 0;
      for (const row of each(rows)) lengths[i++] = task.size(row).length;
      // Rows of like length together: less padding, and figures are of all of them anyway.
      const sorted = numbersOf(rows).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b);
      const scalars = Object.fromEntries([...facts.scalars].map(([name, at]) => [name, [at(progress)]]));
      const flight = new InFlight<{
        readonly numbers: readonly number[];
        readonly outputs: Readonly<Record<string, Values>>;
      }>();
      const none = new Float32Array();
      const predictions = Array.from({ length: rows.length }, (): Values => none);
      let [total, labels] = [0, 0];
      const settle = async (keep: number): Promise<void> => {
        for await (const { numbers, outputs } of flight.take({ keep })) {
          const { loss, predictions: found = new Float32Array() } = outputs;
          total += loss?.[0] ?? NaN;
          const each = found.length / batchSize;
          numbers.forEach((number, b) => (predictions[number] = found.slice(b * each, (b + 1) * each)));
        }
      };
      try {
        for (let start = 0; start < sorted.length; start += batchSize) {
          signal?.throwIfAborted();
          const numbers = [...sorted.subarray(start, start + batchSize)];
          const batch = rowsAt(rows, numbers);
          const shape = shapeFor(setting, facts, batch);
          const program = await programs.get(shape);
          const collated = task.collate(batch, shape, { model: model.info, draw: { seed: 0, epoch: 0, numbers } });
          labels += collated.labels;
          const running = program.run({ clock: [0, 0], ...scalars, ...collated.inputs });
          flight.push(running.then((outputs) => ({ numbers, outputs })));
          await settle(LATE);
        }
        await settle(0);
      } finally {
        await flight.settled();
      }
      const loss = total / labels;
      if (!Number.isFinite(loss))
        throw new TrainError(`evaluation: the loss over ${labels} labels of ${rows.length} rows is ${loss}.`);
      return { loss, ...task.figures({ rows, predictions, loss, labels, model: model.info }) };
    },
    dispose: programs.dispose,
  };
}

/**
 * Mean loss and the task's figures of rows, with every row's labels weighing the same wherever batches end.
 * @throws {DataError} if a row cannot be used; the signal's reason if that is given before the end.
 */
export async function evaluate<Batch, Row>(
  setting: Setting<Batch, Row>,
  rows: Rows<Row>,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<Evaluation> {
  if (rows.length === 0) throw new DataError("there is no row to evaluate on.");
  const layers = layersOf(setting.adapters);
  const facts = factsOf(setting, layers);
  checkRows(setting, rows, numbersOf(rows), "row", facts);
  const once = evaluator(setting, layers, facts);
  try {
    await once.prepare(rows);
    return await once.run(rows, { step: 0, steps: 0, perEpoch: 0 }, signal);
  } finally {
    await once.dispose();
  }
}
