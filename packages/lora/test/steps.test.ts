import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  distance,
  expectGoldenSteps,
  goldenBase,
  type GoldenRecord,
  goldenSizes,
  type GoldenSteps,
  type Rig,
  started,
  tinyBert,
  tinyGpt2,
  tinyLlama,
  tinyT5,
} from "@graftml/conformance";
import {
  adapt,
  type Adapted,
  encodeAdapter,
  type JsonObject,
  type Loaded,
  merge,
  type Model,
  openSafetensors,
} from "@graftml/peft";
import { fileSource, loadAdapter } from "@graftml/peft/files";
import { hostRuntime, type Shape } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { adalora, lora } from "../src/index.ts";
import { logitsOf } from "./golden-model.ts";

/** Where scripts/golden/lora_steps.py wrote. */
const golden = join(import.meta.dirname, "steps");
/** Steps, with logits of the first row: after the last step, and of the start merged. */
type Steps = GoldenSteps & { readonly logits?: readonly unknown[]; readonly merged?: readonly unknown[] };
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord & {
  readonly cases: Readonly<Record<string, Steps>>;
  readonly adalora: Readonly<Record<string, Steps>>;
};
const [text = []] = record.rows[0] ?? [];
/** Numbers of nested lists. */
const numbers = (nested: readonly unknown[] = []): readonly number[] => nested.flat(Infinity) as number[];
const sizes = goldenSizes;
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes, dropout: 0 }),
  bert: tinyBert({ sizes }),
  t5: tinyT5({ sizes }),
};
const rigOf = async (name: string): Promise<Rig> => {
  const model = models[name.split("/")[0]!]!;
  return { model, base: await goldenBase(model, join(golden, name, "../model.safetensors")), runtime: hostRuntime() };
};
/** Cases whose start PEFT makes from the base, which it then changes: saved after the last step. */
const converted: Readonly<Record<string, Adapted>> = {
  "llama/pissa": lora({ rank: 3, alpha: 6, init: "pissa", target: "all-linear" }),
  "llama/olora": lora({ rank: 4, alpha: 6, init: "olora", rslora: true, target: ["attn.q", "mlp.up"] }),
  "gpt2/pissa": lora({ rank: 4, alpha: 6, init: "pissa" }),
  "bert/pissa": lora({ rank: 4, alpha: 6, init: "pissa" }),
  "bert/olora": lora({ rank: 4, alpha: 6, init: "olora" }),
  // Queries and values of cross-attention, too.
  "t5/pissa": lora({ rank: 4, alpha: 6, init: "pissa", target: ["q", "v"] }),
  "t5/olora": lora({ rank: 4, alpha: 6, init: "olora", target: ["q", "v"] }),
};

/** Modules that are saved whole: PEFT names more than there are. */
const held = ({ modules_to_save: modules }: JsonObject) => ({ modules_to_save: modules && ["classifier"] });

/** What `split` starts from, under our names. */
async function splitStart(model: Model): Promise<Loaded> {
  const file = await openSafetensors(await fileSource(join(golden, "gpt2/split/start.safetensors")));
  const adapter = adapt(model, [lora({ rank: 4, alpha: 6, fused: "split" })]);
  const state = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const { name, shape } of adapter.owned) {
    const key = name.replace("default/", "").replace(/lora_([AB])\.attn\.([qv])\.weight$/, "$1_$2");
    state.set(name.slice("default/".length), { shape, values: Float32Array.from(await file.read(key)) });
  }
  return { adapter, state };
}

/** The adapter as it stood before the first step. */
async function start(name: string, rig: Rig): Promise<Loaded> {
  if (name === "gpt2/split") return splitStart(rig.model);
  const made = converted[name];
  if (made) return started(rig, adapt(rig.model, [made]));
  const loaded = await loadAdapter(join(golden, name), rig.model, [lora]);
  if (!name.endsWith("plus")) return loaded;
  // LoRA+ is no part of what PEFT saves: it is a setting of the optimizer.
  const { config } = loaded.adapter.methods[0]!;
  return { ...loaded, adapter: adapt(rig.model, [lora({ ...(config as object), lr_ratio: 2 })]) };
}

describe.each(Object.entries(record.cases))("%s", (name, steps) => {
  it("trains here as it does in PEFT", async () => {
    const rig = await rigOf(name);
    await expectGoldenSteps(rig, [await start(name, rig)], record, steps);
  });
});

describe.each(Object.keys(converted).filter((name) => record.cases[name]?.logits))("%s, converted by PEFT", (name) => {
  it("has the same logits here", async () => {
    const rig = await rigOf(name);
    const loaded = await loadAdapter(join(golden, name), rig.model, [lora]);
    expect(distance(await logitsOf(rig, text, loaded), numbers(record.cases[name]!.logits))).toBeLessThan(1e-5);
  });
});

describe.each(Object.keys(record.cases).filter((name) => !(name in converted) && name !== "gpt2/split"))(
  "%s, made by PEFT",
  (name) => {
    it("is written with the same keys, values and tensors", async () => {
      const folder = join(golden, name);
      const { model } = await rigOf(name);
      const { adapter, state } = await loadAdapter(folder, model, [lora]);
      const { config, tensors } = encodeAdapter(adapter, model, state);
      const theirs = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as JsonObject;
      const chosen = { target_modules: null, exclude_modules: null };
      expect({ ...config, ...chosen }).toEqual({ ...theirs, ...chosen, ...held(theirs) });
      const file = await openSafetensors(await fileSource(join(folder, "adapter_model.safetensors")));
      const shapes = (all: ReadonlyMap<string, { readonly shape: Shape }>) =>
        new Set(Array.from(all, ([key, { shape }]) => `${key} ${shape.join("×")}`));
      // PEFT saves the whole table beside its factors.
      const own = new Map([...file.tensors].filter(([key]) => !key.endsWith(".base_layer.weight")));
      expect(shapes(tensors)).toEqual(shapes(own));
    });
  },
);

describe.each(Object.entries(record.cases).filter(([, { merged }]) => merged))("%s, merged", (name, { merged }) => {
  const tied = name.startsWith("gpt2");

  it(tied ? "is refused, because the head would change too" : "has the logits that PEFT merges it to", async () => {
    const rig = await rigOf(name);
    const loaded = await start(name, rig);
    const fold = () => merge(rig.model, rig.base, [loaded]);
    if (tied) return expect(fold).toThrow("its weight transformer.wte.weight also serves lm_head");
    expect(distance(await logitsOf({ ...rig, base: fold() }, text), numbers(merged))).toBeLessThan(1e-5);
  });
});

describe.each(Object.entries(record.adalora))("AdaLoRA in PEFT, on a %s", (name, steps) => {
  const folder = join(golden, name, "adalora");

  it("trains here as it does there, and keeps the same ranks", async () => {
    const rig = await rigOf(`${name}/adalora`);
    const start = await loadAdapter(join(folder, "start"), rig.model, [adalora]);
    const { loaded } = await expectGoldenSteps(rig, [start], record, steps);
    const { tensors } = encodeAdapter(start.adapter, rig.model, loaded[0]!.state);
    const file = await openSafetensors(await fileSource(join(folder, "end/adapter_model.safetensors")));
    for (const [name, { shape }] of file.tensors) expect(tensors.get(name)?.shape, name).toEqual(shape);
  });

  it("has the same logits here once it is saved there, and is written likewise", async () => {
    const rig = await rigOf(`${name}/adalora`);
    const loaded = await loadAdapter(join(folder, "end"), rig.model, [adalora]);
    expect(distance(await logitsOf(rig, text, loaded), numbers(steps.logits))).toBeLessThan(1e-5);
    const written = encodeAdapter(loaded.adapter, rig.model, loaded.state).config;
    const theirs = JSON.parse(readFileSync(join(folder, "end/adapter_config.json"), "utf8")) as JsonObject;
    const ranks = (config: JsonObject): unknown =>
      new Map(
        Object.entries(config["rank_pattern"] as Readonly<Record<string, readonly boolean[]>>).map(
          ([name, kept]): readonly [string, number] => [name, kept.filter(Boolean).length],
        ),
      );
    expect(ranks(written)).toEqual(ranks(theirs));
    const apart = {
      rank_pattern: null,
      target_modules: null,
      exclude_modules: null,
      total_step: null,
    };
    expect({ ...written, ...apart }).toEqual({ ...theirs, ...apart, ...held(theirs) });
  });
});
