import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { full } from "@graftml/surgical";
import { hostRuntime } from "@graftml/tensor";
import { sequenceClassification, train } from "@graftml/trainer";
import { expect, it } from "vitest";

/** A tiny BERT whose texts have several classes, and ten steps of full fine-tuning in transformers. See scripts/golden/encoders.py. */
const folder = join(import.meta.dirname, "../../../packages/models/test/golden/bert-several");
const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as {
  readonly inputs: Readonly<Record<"ids" | "types" | "mask", readonly (readonly number[])[]>>;
  readonly labels: readonly (readonly number[])[];
  readonly steps: { readonly lr: number; readonly loss: readonly number[]; readonly grad_norm: readonly number[] };
};

it("texts of several classes are trained on as in transformers, step by step", { timeout: 60_000 }, async () => {
  const { ids, types, mask } = golden.inputs;
  const rows = ids.map((row, i) => {
    const length = mask[i]!.filter((seen) => seen === 1).length;
    return { ids: row.slice(0, length), types: types[i]!.slice(0, length), labels: golden.labels[i]! };
  });
  const { model, base } = await loadModel(folder, { task: "sequence-classification" });
  const runtime = hostRuntime();
  const store = runtime.store();
  const adapter = adapt(model, [full()]);
  declareBase(store, base);
  const trainable = declareAdapter(store, adapter, base, { seed: 0 });
  const { lr, loss, grad_norm } = golden.steps;
  const run = { runtime, store, model, adapters: [adapter], trainable, task: sequenceClassification, rows, lr };
  const steps: [number, number][] = [];
  for await (const event of train({ ...run, batchSize: 3, steps: loss.length, maxGradNorm: 0 }))
    if (event.type === "step") steps.push([event.loss, event.gradNorm]);
  expect(steps).toHaveLength(loss.length);
  steps.forEach(([ours, norm], i) => {
    expect(Math.abs(ours / loss[i]! - 1)).toBeLessThan(1e-4);
    expect(Math.abs(norm / grad_norm[i]! - 1)).toBeLessThan(1e-4);
  });
});
