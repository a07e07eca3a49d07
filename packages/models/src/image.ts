/**
 * @file Images as models take them: resized, scaled and normalized as preprocessor_config.json says.
 * @see HF `image_processing_pil_vit.py`; Pillow's `Resample.c`.
 */
import type { JsonObject } from "@graftml/peft";
import { z } from "zod";
import { absent, only, readConfig, size } from "./config.ts";
import { type Filter, filters, resized } from "./resize.ts";

/** A decoded image. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue of every pixel, row by row: [height, width, 3] */
  readonly pixels: Uint8Array;
}

/** How a picture becomes what a model takes. */
export interface Preparation {
  /** Rows and columns of the result; null: as they are. */
  readonly size: readonly [rows: number, columns: number] | null;
  readonly filter: Filter;
  /** value = (byte · factor − mean) / deviation, for red, green and blue. */
  readonly factor: number;
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
}

/** Numbers of Pillow's filters. */
const byNumber: Readonly<Record<number, Filter>> = { 1: filters.lanczos, 2: filters.bilinear, 3: filters.bicubic };
const filter = z
  .int()
  .refine((n) => n in byNumber, { error: "only 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported" })
  .transform((n) => byNumber[n] ?? filters.bilinear);

/** One number for each color, or one for all. */
const colors = z.union([z.number().transform((x) => [x, x, x]), z.array(z.number()).length(3)]);

const schema = z.object({
  do_resize: absent(z.boolean(), true),
  size: absent(z.union([size.transform((n) => ({ height: n, width: n })), z.object({ height: size, width: size })]), {
    height: 224,
    width: 224,
  }),
  resample: absent(filter, filters.bilinear),
  do_rescale: absent(z.boolean(), true),
  rescale_factor: absent(z.number().positive(), 1 / 255),
  do_normalize: absent(z.boolean(), true),
  image_mean: absent(colors, [0.5, 0.5, 0.5]),
  image_std: absent(colors, [0.5, 0.5, 0.5]),
  do_center_crop: only(false),
  do_pad: only(false),
});

/** What preprocessor_config.json says. @throws {StateError} naming the key of what is wrong or not supported. */
export function readPreparation(json: JsonObject, file: string): Preparation {
  const c = readConfig(schema, json, file);
  return {
    size: c.do_resize ? [c.size.height, c.size.width] : null,
    filter: c.resample,
    factor: c.do_rescale ? c.rescale_factor : 1,
    mean: c.do_normalize ? c.image_mean : [0, 0, 0],
    deviation: c.do_normalize ? c.image_std : [1, 1, 1],
  };
}

/** What a model takes of an image: f32, color by color and row by row. */
export interface Pixels {
  readonly pixels: Float32Array;
  readonly shape: readonly [channels: number, rows: number, columns: number];
}

/** A picture prepared for a model: [3, rows, columns] */
export function pixelsOf(picture: Picture, { size, filter, factor, mean, deviation }: Preparation): Pixels {
  const { height, width, pixels } = size === null ? picture : resized(picture, size, filter);
  const count = height * width;
  const values = new Float32Array(3 * count);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < count; i++)
      values[c * count + i] = ((pixels[3 * i + c] ?? 0) * factor - (mean[c] ?? 0)) / (deviation[c] ?? 1);
  return { pixels: values, shape: [3, height, width] };
}
