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
import { adapt, type Model } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, it } from "vitest";
import { bitfit } from "../src/index.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const sizes = goldenSizes;
const [llama, gpt2, bert] = [tinyLlama({ sizes }), tinyGpt2({ sizes, dropout: 0 }), tinyBert({ sizes })];

describe("twenty steps of bitfit", () => {
  it.each<[string, Model, Parameters<typeof bitfit>[0]]>([
    ["llama/all", llama, {}],
    ["gpt2/all", gpt2, {}],
    ["gpt2/half", gpt2, { biases: ["attn.q", "mlp.up"] }],
    ["bert/all", bert, {}],
    ["t5/all", tinyT5({ sizes }), {}],
    ["bert/half", bert, { biases: ["attn.q", "mlp.up"] }],
  ])("are torch's: %s", async (name, model, config) => {
    const base = await goldenBase(model, join(golden, name, "../model.safetensors"));
    const adapter = adapt(model, [bitfit(config)]);
    await expectGoldenSteps({ model, base, runtime: hostRuntime() }, [{ adapter }], record, record.cases[name]!);
  });
});
