import { lora } from "@graftml/lora";
import { adapt, type Adapted, declareAdapter, declareBase, openScope, predict, sites } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { planningRuntime, sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { type Architecture, architectures, described } from "./architectures.ts";

const named = (name: string): Architecture => architectures.find((a) => a.name === name)!;

/** Bytes of the weights that a forward pass reads. */
function weightsOf(name: string, methods: readonly Adapted[]): number {
  const { model, base } = described(named(name));
  const runtime = planningRuntime();
  const store = runtime.store();
  const adapter = adapt(model, methods, { trainable: false });
  declareBase(store, base);
  declareAdapter(store, adapter, base, { seed: 0 });
  const dtypeOf = (parameter: string) => store.declaration(parameter).dtype;
  const plan = runtime.plan(store, (trace) => {
    const scope = openScope(trace, adapter.layers, { train: false, model: model.info, dtypeOf });
    return { logits: predict(model, scope, { batch: 1, length: 8 }) };
  });
  return plan["weights"] ?? 0;
}

describe("configurations of real models", { timeout: 60_000 }, () => {
  it.each([
    ["GPT-2", 124_439_808],
    ["SmolLM2-135M", 134_515_008],
    ["Qwen2.5-0.5B", 494_032_768],
    ["Llama-3.2-1B", 1_235_814_400],
    ["Llama-3.2-3B", 3_212_749_824],
    ["Llama-2-7B", 6_738_415_616],
    ["Llama-2-13B", 13_015_864_320],
    ["LLaMA-65B", 65_285_660_672],
    ["BERT-base", 109_514_298], // with the head that predicts masked tokens, without the pooler
    ["BERT-large", 335_174_458],
    ["T5-v1.1-XXL", 11_135_332_352],
    ["GPT-3 175B", 174_604_259_328],
  ])("make %s have %i parameters", (name, count) => {
    const { model } = described(named(name));
    expect(sites(model).reduce((n, { kind, shape }) => n + (kind === "param" ? sizeOf(shape) : 0), 0)).toBe(count);
  });

  it.each([
    ["Llama-2-7B", 3.87],
    ["Llama-2-13B", 7.2],
    ["LLaMA-65B", 34.5],
  ])("put the weights of %s into %f GB in NF4 with double quantization, the rest in f16", (name, gigabytes) => {
    const bytes = weightsOf(name, [quant({ type: "nf4", double_quant: true })]);
    expect(Number((bytes / 1e9).toPrecision(3))).toBe(gigabytes);
  });

  it("give LoRA of rank 4 on the queries and values of GPT-3 18,874,368 numbers", () => {
    const { owned } = adapt(described(named("GPT-3 175B")).model, [lora({ rank: 4, fused: "split" })]);
    expect(owned.reduce((n, { shape }) => n + sizeOf(shape), 0)).toBe(18_874_368);
  });
});
