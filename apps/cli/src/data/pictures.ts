/** @file Rows of images to examples, prepared as the model's folder says, when a step first needs them. */
import { join } from "node:path";
import { type Picture, pixelsOf } from "@graftml/models";
import { type ImageExample, lazyRows, type Rows } from "@graftml/trainer";
import { UsageError } from "../errors.ts";
import type { Session } from "../session.ts";
import { numbersOf } from "./labels.ts";
import type { Row } from "./row.ts";

/** Bytes of a pixel: three colors in f32. */
const PIXEL = 12;

/** @throws {UsageError} if the model's folder does not say how images are prepared, or a row has no image. */
export function encodeImages(rows: Rows<Row>, { run, folder, preparation }: Session): Rows<ImageExample> {
  if (preparation === null)
    throw new UsageError(
      `${join(folder, "preprocessor_config.json")} is missing: without it nobody can say how images are prepared.`,
    );
  const { labels = [] } = run.data;
  const labelOf = (row: Row): number => numbersOf(row, labels)[0] ?? 0;
  const [height, width] = preparation.size ?? [];
  return lazyRows({
    sources: rows,
    make: (row) => ({ ...pixelsOf(imageOf(row), preparation), labels: [labelOf(row)], origin: row.origin }),
    weight: (row) => PIXEL * (height ?? imageOf(row).height) * (width ?? imageOf(row).width),
    identity: (row) => [labelOf(row), imageOf(row).width, imageOf(row).height, sumOf(imageOf(row))],
    settings: [preparation],
  });
}

function imageOf({ image, origin }: Row): Picture {
  if (image === undefined) throw new UsageError(`${origin} has no image.`);
  return image;
}

/** A number that tells images apart. */
const sumOf = ({ pixels }: Picture): number => pixels.reduce((sum, value, i) => (sum + value * (i + 1)) % 2 ** 32, 0);
