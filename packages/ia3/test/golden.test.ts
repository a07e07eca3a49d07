import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  expectGoldenSteps,
  goldenBase,
  type GoldenRecord,
  goldenSizes,
  tinyBert,
  tinyGpt2,
  tinyLlama,
  tinyT5,
} from "@graftml/conformance";
import { decodeAdapter, encodeAdapter, type JsonObject, type Model } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { ia3 } from "../src/index.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const sizes = goldenSizes;
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes, dropout: 0 }),
  bert: tinyBert({ sizes }),
  t5: tinyT5({ sizes }),
};

describe.each(Object.entries(record.cases))("%s, made by PEFT", (name, steps) => {
  const model = models[name.split("/")[0]!]!;
  const folder = join(golden, name);
  const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as JsonObject;

  it("trains here as it does there", async () => {
    const base = await goldenBase(model, join(golden, name, "../model.safetensors"));
    const loaded = await loadAdapter(folder, model, [ia3]);
    await expectGoldenSteps({ model, base, runtime: hostRuntime() }, [loaded], record, steps);
  });

  it("is written with the same keys, values and tensors", async () => {
    const { adapter, state } = await loadAdapter(folder, model, [ia3]);
    const written = encodeAdapter(adapter, model, state);
    // How modules are named differs; that they are the same ones, the tensors tell.
    const chosen = { target_modules: null, feedforward_modules: null, modules_to_save: null };
    expect({ ...written.config, ...chosen }).toEqual({ ...config, ...chosen });
    expect(decodeAdapter(written, model, [ia3]).state).toEqual(state);
  });
});
