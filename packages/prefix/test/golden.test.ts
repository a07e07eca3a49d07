import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  distance,
  expectGoldenSteps,
  goldenBase,
  type GoldenRecord,
  goldenSizes,
  logits,
  tinyGpt2,
  tinyLlama,
} from "@graftml/conformance";
import {
  adapt,
  encodeAdapter,
  type JsonObject,
  type Loaded,
  type Model,
  type NamedValues,
  openSafetensors,
  type ShapedValues,
} from "@graftml/peft";
import { fileSource, loadAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { prefix, prompt, pTuning } from "../src/index.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const sizes = goldenSizes;
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes, dropout: 0 }),
};
const [tokens, hidden] = [3, 6];
const methods = [prefix, prompt, pTuning];

const rigOf = async (name: string) => {
  const model = models[name.split("/")[0]!]!;
  return {
    model,
    base: await goldenBase(model, join(golden, name, "../model.safetensors")),
    runtime: hostRuntime(),
  };
};

/** What PEFT trains an MLP from, under our names: its last layer is one for all attentions there, and has a part for each here. */
async function throughMlp(model: Model, name: string): Promise<Loaded> {
  const file = await openSafetensors(await fileSource(join(golden, name, "start.safetensors")));
  const saved = new Map<string, ShapedValues>();
  for (const [key, { shape }] of file.tensors)
    saved.set(key, { shape, values: Float32Array.from(await file.read(key)) });
  if (name.endsWith("p-tuning")) return { adapter: adapt(model, [pTuning({ tokens, hidden })]), state: saved };
  const adapter = adapt(model, [prefix({ tokens, reparameterize: hidden })]);
  const state: NamedValues = new Map(
    adapter.owned.map(({ name: full, shape, site }) => {
      const key = full.replace(/^.*?(embedding\.|transform\.)/, "$1");
      const size = shape.reduce((a, b) => a * b);
      const from = key.startsWith("transform.2") ? (site.layer ?? 0) * size : 0;
      const values = saved.get(key)!.values.slice(from, from + size);
      return [full.slice("default/".length), { shape, values }];
    }),
  );
  return { adapter, state };
}

const isThroughMlp = (name: string): boolean => /(?:prefix-mlp|p-tuning)$/.test(name);

describe.each(Object.entries(record.cases))("%s, made by PEFT", (name, steps) => {
  const mlp = isThroughMlp(name);
  const folder = join(golden, name);
  const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as JsonObject;

  it("trains here as it does there", async () => {
    const rig = await rigOf(name);
    const start = mlp ? await throughMlp(rig.model, name) : await loadAdapter(folder, rig.model, methods);
    await expectGoldenSteps(rig, [start], record, steps);
  });

  it("is written with the same keys, values and tensors", async () => {
    const { model } = await rigOf(name);
    const { adapter, state } = await loadAdapter(folder, model, methods);
    const written = encodeAdapter(adapter, model, state);
    // How a tensor came about is no part of what it means.
    const past = { prefix_projection: null, prompt_tuning_init: null, ...(mlp && { encoder_hidden_size: null }) };
    expect({ ...written.config, ...past }).toEqual({ ...config, ...past });
  });
});

describe.each(Object.keys(record.cases).filter(isThroughMlp))("%s, made by PEFT", (name) => {
  it("is saved there as what comes out of its MLP here", async () => {
    const rig = await rigOf(name);
    const plain = await loadAdapter(join(golden, name), rig.model, methods);
    const before = await throughMlp(rig.model, name);
    expect(distance(await logits(rig, [plain]), await logits(rig, [before]))).toBeLessThan(1e-6);
  });
});
