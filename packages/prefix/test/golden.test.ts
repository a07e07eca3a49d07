import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  distance,
  expectGoldenSteps,
  fit,
  goldenBase,
  type GoldenRecord,
  goldenSizes,
  logits,
  type Rig,
  tinyBert,
  tinyGpt2,
  tinyLlama,
  tinyT5,
} from "@graftml/conformance";
import {
  adapt,
  encodeAdapter,
  type JsonObject,
  type Loaded,
  type Model,
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
  bert: tinyBert({ sizes }),
  t5: tinyT5({ sizes }),
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
async function throughMlp({ model, base }: Rig, name: string): Promise<Loaded> {
  const file = await openSafetensors(await fileSource(join(golden, name, "start.safetensors")));
  const method = name.endsWith("p-tuning") ? pTuning({ tokens, hidden }) : prefix({ tokens, reparameterize: hidden });
  const adapter = adapt(model, [method]);
  const state = new Map<string, ShapedValues>();
  for (const { name: full, shape, site } of adapter.owned) {
    const within = full.slice("default/".length);
    const key = within.replace(/^.*?(embedding\.|transform\.|mlp_head\.)/, "$1");
    const size = shape.reduce((a, b) => a * b);
    // Places in the order of the model: the number of the block, of an encoder-decoder the decoder's.
    const from = key.startsWith("transform.2") ? (site.layer ?? 0) * size : 0;
    const values = await (file.tensors.has(key) ? file.read(key) : base.read(within)); // a head starts as the base's
    state.set(within, { shape, values: Float32Array.from(values).slice(from, from + size) });
  }
  return { adapter, state };
}

const configOf = (name: string): JsonObject =>
  JSON.parse(readFileSync(join(golden, name, "adapter_config.json"), "utf8")) as JsonObject;
const rowsOf = (name: string): number => Number(configOf(name)["num_virtual_tokens"]);
const isThroughMlp = (name: string): boolean => /(?:prefix-mlp|p-tuning)$/.test(name);

/** Prefixes of an encoder-decoder, whose blocks share them in PEFT: they are read, but neither trained nor written likewise. */
const isShared = (name: string): boolean => name.startsWith("t5/prefix");

describe.each(Object.entries(record.cases).filter(([name]) => isShared(name)))("%s, made by PEFT", (name, { loss }) => {
  it("has the same loss here", async () => {
    const rig = await rigOf(name);
    const rows = record.rows[0]!.map((ids) => ({ ids, labels: ids }));
    const start = await loadAdapter(join(golden, name), rig.model, methods);
    const { losses } = await fit(rig, [start], { steps: 1, rows, batchSize: rows.length, shuffle: false });
    expect(Math.abs(losses[0]! / loss[0]! - 1)).toBeLessThan(1e-5);
  });
});

describe.each(Object.entries(record.cases).filter(([name]) => !isShared(name)))("%s, made by PEFT", (name, steps) => {
  const mlp = isThroughMlp(name);
  const folder = join(golden, name);
  const config = configOf(name);

  it("trains here as it does there", async () => {
    const rig = await rigOf(name);
    const start = mlp ? await throughMlp(rig, name) : await loadAdapter(folder, rig.model, methods);
    // Of an encoder-decoder PEFT trains rows for both stacks, of which one is idle.
    const idle = rig.model.info.type === "t5" && !name.includes("prefix") ? rowsOf(name) * rig.model.info.hidden : 0;
    await expectGoldenSteps(rig, [start], record, { ...steps, trainable: steps.trainable - idle });
  });

  it("is written with the same keys, values and tensors", async () => {
    const { model } = await rigOf(name);
    const { adapter, state } = await loadAdapter(folder, model, methods);
    const written = encodeAdapter(adapter, model, state);
    // How a tensor came about is no part of what it means.
    const past = {
      num_transformer_submodules: null,
      prefix_projection: null,
      prompt_tuning_init: null,
      ...(mlp && { encoder_hidden_size: null }),
    };
    const { modules_to_save: modules } = config;
    const held = Array.isArray(modules) ? ["classifier"] : modules; // PEFT names more than there is, twice
    expect({ ...written.config, ...past }).toEqual({ ...config, ...past, modules_to_save: held });
  });
});

describe.each(Object.keys(record.cases).filter((name) => isThroughMlp(name) && !isShared(name)))(
  "%s, made by PEFT",
  (name) => {
    it("is saved there as what comes out of its MLP here", async () => {
      const rig = await rigOf(name);
      const plain = await loadAdapter(join(golden, name), rig.model, methods);
      const before = await throughMlp(rig, name);
      expect(distance(await logits(rig, [plain]), await logits(rig, [before]))).toBeLessThan(1e-6);
    });
  },
);
