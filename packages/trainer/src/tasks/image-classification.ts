/** @file Judging an image. */
import type { TokenBatch } from "@graftml/peft";
import { crossEntropy, sizeOf, sum } from "@graftml/tensor";
import { DataError } from "../errors.ts";
import { classFigures, likeliest } from "../metrics/classes.ts";
import { each } from "../rows.ts";
import type { Task } from "../task.ts";
import { checkClass, classLabels, nameOf } from "./tokens.ts";

/** One image and its class. */
export interface ImageExample {
  /** Channel by channel and row by row, scaled as the model was trained: [channels, rows, columns]. */
  readonly pixels: Float32Array;
  readonly shape: readonly [channels: number, rows: number, columns: number];
  readonly labels: readonly [number];
  /** Where it comes from, for messages. */
  readonly origin?: string;
}

/** Judging an image: `labels` holds its class. The loss is a mean over images; an image counts as one token. */
export const imageClassification: Task<TokenBatch, ImageExample> = {
  name: "image-classification",
  size: () => ({ length: 1 }),
  check(row, name, { model }) {
    const where = nameOf(name, row);
    checkClass(row.labels[0], where, model);
    if (row.pixels.length !== sizeOf(row.shape))
      throw new DataError(`${where} has ${row.pixels.length} values for an image of ${row.shape.join(" × ")}.`);
  },
  collate(rows, { batch }) {
    const size = rows[0]?.pixels.length ?? 0;
    const pixels = new Float32Array(batch * size);
    rows.forEach((row, b) => {
      if (row.pixels.length !== size)
        throw new DataError(`${nameOf("an image", row)} is of another size than the one before it.`);
      pixels.set(row.pixels, b * size);
    });
    return { inputs: { pixels, labels: classLabels(rows, batch) }, labels: rows.length, tokens: rows.length };
  },
  outcome({ trace, scope, model, batch: read, hidden, shape: { batch } }) {
    const predictions = model.head(scope, hidden, read); // [B, labels]
    return { loss: sum(crossEntropy(predictions, trace.input("labels", [batch], "i32"))), predictions };
  },
  figures: ({ rows, predictions, model }) =>
    classFigures(
      Array.from(each(rows), ({ labels: [label] }) => label),
      predictions.map(likeliest),
      model.labels,
    ),
};
