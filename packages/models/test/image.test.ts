import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { pixelsOf, readPreparation } from "../src/index.ts";
import { resized } from "../src/resize.ts";
import { difference } from "./golden.ts";

/** What scripts/golden/images.py wrote. */
interface Recording {
  readonly width: number;
  readonly height: number;
  readonly pixels: readonly number[];
  readonly cases: readonly {
    readonly config: JsonObject;
    readonly bytes: readonly number[];
    readonly shape: readonly number[];
    readonly values: readonly number[];
  }[];
}
const { cases, pixels, ...size } = JSON.parse(
  readFileSync(join(import.meta.dirname, "golden/images.json"), "utf8"),
) as Recording;
const picture = { ...size, pixels: Uint8Array.from(pixels) };

describe.each(cases)("a picture prepared as $config says", ({ config, bytes, shape, values }) => {
  const preparation = readPreparation(config, "preprocessor_config.json");

  it("is resized to Pillow's bytes", () => {
    const { size: wanted, filter } = preparation;
    const got = wanted === null ? picture : resized(picture, wanted, filter);
    expect([...got.pixels]).toEqual(bytes);
  });

  it("has the values that transformers' processor gives, color by color", () => {
    const got = pixelsOf(picture, preparation);
    expect(got.shape).toEqual(shape);
    expect(difference(got.pixels, values)).toBeLessThan(1e-6);
  });
});

describe("preprocessor_config.json", () => {
  const read = (config: JsonObject) => () => readPreparation(config, "preprocessor_config.json");

  it("may give one length for rows and columns, and one number for all colors", () => {
    const { size: wanted, mean } = read({ size: 7, image_mean: 0.25 })();
    expect(wanted).toEqual([7, 7]);
    expect(mean).toEqual([0.25, 0.25, 0.25]);
  });

  it("is refused where it wants what is not done, by name", () => {
    expect(read({ size: { shortest_edge: 256 } })).toThrow(/preprocessor_config\.json: size/);
    expect(read({ resample: 0 })).toThrow(/resample: only 1 \(Lanczos\)/);
    expect(read({ do_center_crop: true })).toThrow(/do_center_crop: only false is supported/);
  });
});
