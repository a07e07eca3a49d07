/** @file Comparing with a reference: bases with weights that it wrote, and the steps of its training. */
import { type Base, type Model, openSafetensors, sites } from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import { sizeOf, type Source } from "@graftml/tensor";
import { expect } from "vitest";
import type { Sizes } from "./parts.ts";
import { type Attached, fit, type Fitted, type Rig, trained } from "./rig.ts";

/** Sizes of the models of scripts/golden/tiny.py. */
export const goldenSizes: Sizes = {
  vocabulary: 64,
  hidden: 16,
  inner: 24,
  heads: 4,
  keyHeads: 2,
  layers: 2,
  positions: 32,
};

/** A model's weights from a safetensors file with the names and layouts of Hugging Face. */
export async function goldenBase(model: Model, path: string): Promise<Base> {
  const file = await openSafetensors(await fileSource(path));
  const all = sites(model);
  const turned = new Map(all.flatMap((s) => (s.kind === "linear" && s.transposed ? [[s.weight, s] as const] : [])));
  const params = new Map(all.flatMap((s) => (s.kind === "param" ? [[s.path, s] as const] : [])));
  return {
    names: () => params.keys(),
    describe: (name) => {
      const shape = params.get(name)?.shape;
      return shape && { shape, dtype: "f32" };
    },
    read: async (name) => {
      const values = await file.read(name);
      const site = turned.get(name);
      return site === undefined ? values : transposed(values, site.in, site.out);
    },
  };
}

const transposed = (values: Source, rows: number, columns: number): Float32Array =>
  new Float32Array(values.length).map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? NaN);

/** What scripts/golden/tiny.py records of training. */
export interface GoldenSteps {
  /** Numbers that are trained. */
  readonly trainable: number;
  /** Of every step. */
  readonly loss: readonly number[];
  readonly grad_norm: readonly number[];
}

/** A file of such records: the rows of all steps, and the steps of each case. */
export interface GoldenRecord {
  /** Token ids [steps, rows of a step, tokens]. */
  readonly rows: readonly (readonly (readonly number[])[])[];
  readonly cases: Readonly<Record<string, GoldenSteps>>;
}

/** Trains a stack as the reference did, and expects every step's loss and gradient norm to be the reference's. Returns what it left. */
export async function expectGoldenSteps(
  rig: Rig,
  stack: readonly Attached[],
  { rows }: GoldenRecord,
  { trainable, loss, grad_norm }: GoldenSteps,
): Promise<Fitted> {
  const { labels: classes } = rig.model.info;
  const labelsOf = (ids: readonly number[]): readonly number[] => (classes > 0 ? [(ids[0] ?? 0) % classes] : ids);
  const examples = rows.flat().map((ids) => ({ ids, labels: labelsOf(ids) }));
  const setting = { steps: rows.length, rows: examples, batchSize: rows[0]?.length ?? 0, shuffle: false, lr: 1e-2 };
  const fitted = await fit(rig, stack, setting);
  expect(trained(stack).reduce((sum, { shape }) => sum + sizeOf(shape), 0)).toBe(trainable);
  // What torch keeps in f32 even in an f64 model: norms, angles and logits of the loss.
  for (const [ours, theirs] of [
    [fitted.losses, loss],
    [fitted.gradNorms, grad_norm],
  ] as const)
    ours.forEach((value, step) =>
      expect(Math.abs(value / (theirs[step] ?? NaN) - 1), `step ${step + 1}`).toBeLessThan(1e-4),
    );
  return fitted;
}
