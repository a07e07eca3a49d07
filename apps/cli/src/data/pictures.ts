/** @file Rows of images to examples, prepared as the model's folder says, when a step first needs them. */
import { join } from "node:path";
import { type Picture, pixelsOf } from "@graftml/models";
import { digest, type ImageExample, lazyRows, type Rows } from "@graftml/trainer";
import { UsageError } from "../errors.ts";
import type { Session } from "../session.ts";
import { numbersOf } from "./labels.ts";
import type { Row } from "./row.ts";

/** @throws {UsageError} if the model's folder does not say how images are prepared, or a row has no image. */
export function encodeImages(rows: readonly Row[], { run, folder, preparation }: Session): Rows<ImageExample> {
  if (preparation === null)
    throw new UsageError(
      `${join(folder, "preprocessor_config.json")} is missing: without it nobody can say how images are prepared.`,
    );
  const { labels = [] } = run.data;
  const sources = rows.map((row) => ({ row, label: numbersOf(row, labels)[0] ?? 0, image: imageOf(row) }));
  return lazyRows({
    sources,
    make: ({ row: { origin }, label, image }) => ({ ...pixelsOf(image, preparation), labels: [label], origin }),
    weight: () => 1,
    digest: digest([
      preparation,
      ...sources.map(({ label, image }) => [label, image.width, image.height, sumOf(image)]),
    ]),
  });
}

function imageOf({ image, origin }: Row): Picture {
  if (image === undefined) throw new UsageError(`${origin} has no image.`);
  return image;
}

/** A number that tells images apart. */
const sumOf = ({ pixels }: Picture): number => pixels.reduce((sum, value, i) => (sum + value * (i + 1)) % 2 ** 32, 0);
