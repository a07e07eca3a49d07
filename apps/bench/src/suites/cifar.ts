/**
 * @file Suite `cifar`: which block of an image model to train where its images have become noisy, blurred or pale.
 * @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §3; Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildModel } from "@graftml/models";
import { adapt, type Adapted, type Loaded, rngOf } from "@graftml/peft";
import { autoRgn, blocks, full } from "@graftml/surgical";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { imageClassification, type ImageExample } from "@graftml/trainer";
import { fit, judge, pretrained } from "../fitting.ts";
import { randomWeights } from "../random.ts";
import type { Report, Row } from "../report.ts";

const CLASSES = 10;
const [CHANNELS, SIDE] = [3, 32] as const;
const PIXELS = CHANNELS * SIDE * SIDE;
const BATCH = 64;
const LAYERS = 4;
const SOURCE = { batch: BATCH, steps: 600, lr: 2e-3, seed: 0 } as const;
/** Images of each corruption to learn from, and how. */
const TRAINED = 500;
const TARGET = { batch: BATCH, steps: 64, lr: 1e-3, seed: 0 } as const;

/** What is trained in turn: each block by hand, all of it, and as gradients rank it. */
const variants: readonly (readonly [string, Adapted])[] = [
  ["embeddings", blocks({ blocks: ["embeddings"] })],
  ...Array.from({ length: LAYERS }, (_, block) => [`block ${block}`, blocks({ blocks: [block] })] as const),
  ["head", blocks({ blocks: ["head"] })],
  ["full", full()],
  ["rgn, tensors", autoRgn()],
  ["rgn, blocks", autoRgn({ per: "layer" })],
];

/** An image changed: pixels as the model reads them, about 0. */
type Corruption = (pixels: Float32Array, number: number) => Float32Array;

const corruptions: Readonly<Record<string, Corruption>> = {
  noise: (pixels, number) => {
    const rng = rngOf(number, "noise");
    return pixels.map((v) => v + 0.6 * rng.normal());
  },
  blur: (pixels) => blurred(blurred(pixels)),
  contrast: (pixels) => pixels.map((v) => v / 5),
};

/**
 * Accuracies of a ViT that has learned clean images: on those, and on images of each corruption by what was trained on some of
 * them.
 * @param folder where the data lies, in folders of these names.
 */
export async function cifar({ folder }: { readonly folder: string }): Promise<Report> {
  const read = (name: string): Promise<readonly ImageExample[]> => imagesIn(join(folder, "data/cifar10-small", name));
  const [train, test] = [await read("train.bin"), await read("test.bin")];
  const model = buildModel(
    {
      model_type: "vit",
      hidden_size: 64,
      intermediate_size: 128,
      num_hidden_layers: LAYERS,
      num_attention_heads: 4,
      image_size: SIDE,
      patch_size: 8,
    },
    { task: "image-classification", labels: CLASSES },
  );
  const runtime = deviceRuntime(await requestDevice());
  const fresh = { runtime, model, base: randomWeights(model, 0), task: imageClassification };
  const source = { ...fresh, base: await pretrained(fresh, { rows: train, ...SOURCE }) };
  const right = async (
    subject: typeof source & { readonly below?: readonly Loaded[] },
    rows: readonly ImageExample[],
  ) => (await judge(subject, rows, BATCH))["accuracy"] ?? NaN;
  const rows: Row[] = [{ name: "clean", figures: { untouched: await right(source, test) } }];
  for (const [name, corrupt] of Object.entries(corruptions)) {
    const changed = (images: readonly ImageExample[]): readonly ImageExample[] =>
      images.map((image, i) => ({ ...image, pixels: corrupt(image.pixels, i) }));
    const [learned, heldOut] = [changed(train.slice(0, TRAINED)), changed(test)];
    const figures: Record<string, number> = { untouched: await right(source, heldOut) };
    for (const [variant, method] of variants) {
      const fitted = await fit(source, adapt(model, [method], { modules: [] }), { rows: learned, ...TARGET });
      figures[variant] = await right({ ...source, below: [fitted] }, heldOut);
    }
    rows.push({ name, figures });
  }
  runtime.dispose();
  return { suite: "cifar (accuracy)", rows };
}

/** Images of a file in CIFAR-10's binary form: a byte for the class, then a byte for each pixel, channel by channel. */
async function imagesIn(file: string): Promise<readonly ImageExample[]> {
  const bytes = await readFile(file);
  return Array.from({ length: Math.floor(bytes.length / (1 + PIXELS)) }, (_, i) => {
    const at = i * (1 + PIXELS);
    const pixels = Float32Array.from(bytes.subarray(at + 1, at + 1 + PIXELS), (v) => v / 127.5 - 1);
    return { pixels, shape: [CHANNELS, SIDE, SIDE], labels: [bytes[at] ?? 0] };
  });
}

/** Every pixel as the mean of the nine about it, those beyond the edge left out. */
const blurred = (pixels: Float32Array): Float32Array =>
  pixels.map((_, i) => {
    const [column, row] = [i % SIDE, Math.floor(i / SIDE) % SIDE];
    const near = [-1, 0, 1].flatMap((y) =>
      [-1, 0, 1].flatMap((x) =>
        column + x < 0 || column + x >= SIDE || row + y < 0 || row + y >= SIDE ? [] : [pixels[i + y * SIDE + x] ?? 0],
      ),
    );
    return near.reduce((a, b) => a + b, 0) / near.length;
  });
