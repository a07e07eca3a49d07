import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type JsonObject, sites } from "@graftml/peft";
import { Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { buildModel, loadModel } from "../src/index.ts";
import { folderOf } from "./golden.ts";

const configOf = (name: string, change: JsonObject = {}): JsonObject => ({
  ...(JSON.parse(readFileSync(join(folderOf(name), "config.json"), "utf8")) as JsonObject),
  ...change,
});
const longest = (name: string, change?: JsonObject): number => buildModel(configOf(name, change)).info.maxLength;

describe("a sliding window", () => {
  it("limits the length of texts to what it shows whole", () => {
    expect(longest("mistral")).toBe(24);
    expect(longest("mistral", { sliding_window: null })).toBe(32);
    expect(longest("mistral", { sliding_window: 4096 })).toBe(32);
    expect(longest("qwen3", { use_sliding_window: true, sliding_window: 8, layer_types: null })).toBe(8);
    const model = buildModel(configOf("mistral", { sliding_window: 4 }));
    expect(() => model.inputs(new Trace(), { batch: 1, length: 5 })).toThrow(
      /sequences of 5 tokens are too long: .* 4 /,
    );
  });

  it("that no block uses changes nothing", () => {
    expect(longest("qwen2", { use_sliding_window: false, sliding_window: 8 })).toBe(32);
    const layers = ["full_attention", "full_attention"];
    expect(longest("qwen2", { use_sliding_window: true, sliding_window: 8, layer_types: layers })).toBe(32);
    expect(longest("llama3", { use_sliding_window: true, sliding_window: 8 })).toBe(32); // not a key of Llama's
  });
});

describe("relatives of Llama", () => {
  const parameters = (name: string, change?: JsonObject): string[] =>
    sites(buildModel(configOf(name, change))).flatMap((s) => (s.kind === "param" ? [s.path] : []));

  it("have the biases of their kind, whatever else their configurations say", () => {
    const biases = (name: string, change?: JsonObject): string[] => [
      ...new Set(parameters(name, change).flatMap((path) => /(\w+)_proj\.bias/.exec(path)?.[1] ?? [])),
    ];
    expect(biases("qwen2", { attention_bias: false })).toEqual(["q", "k", "v"]);
    expect(biases("mistral", { attention_bias: true, mlp_bias: true })).toEqual([]);
    expect(biases("gemma", { attention_bias: true })).toEqual(["q", "k", "v", "o"]);
  });

  it("take what absent keys mean from their own defaults", () => {
    expect(buildModel(configOf("gemma", { head_dim: undefined })).info.headWidth).toBe(256);
    expect(buildModel(configOf("qwen3", { head_dim: undefined })).info.headWidth).toBe(128);
    expect(parameters("gemma", { tie_word_embeddings: undefined })).not.toContain("lm_head.weight");
  });

  it("start norms where they change nothing", async () => {
    const norm = "model.norm.weight";
    const start = async (name: string) =>
      new Set((await (await loadModel(folderOf(name), { init: "random" })).base.read(norm)) as Float32Array);
    expect(await start("gemma")).toEqual(new Set([0])); // its gains are stored less one
    expect(await start("mistral")).toEqual(new Set([1]));
  });

  it.each([
    [
      "gemma",
      { use_bidirectional_attention: true },
      "use_bidirectional_attention: only false is supported; found true",
    ],
    ["qwen3", { layer_types: ["full_attention", "chunked_attention"] }, "layer_types.1"],
    ["smollm3", { no_rope_layers: [0, 2] }, "no_rope_layers.1"],
    ["llama3", { rope_parameters: { rope_type: "dynamic", factor: 2 } }, 'found "dynamic"'],
    ["llama3", { rope_parameters: { rope_type: "linear" } }, 'rope_parameters.factor: rope_type "linear" needs it'],
    ["llama3", { rope_parameters: { partial_rotary_factor: 0.5 } }, "partial_rotary_factor: only 1 is supported"],
  ] as const)("refuse what they cannot do (%s, %j)", (name, change, message) => {
    expect(() => buildModel(configOf(name, change))).toThrow(message);
  });
});

describe("a decoder that judges", () => {
  it("takes its body from a language model, and a new head", async () => {
    const task = "sequence-classification";
    const { model, base, drawn } = await loadModel(folderOf("llama"), { task, labels: 4 });
    expect(drawn).toEqual(["score.weight"]);
    expect(base.describe("score.weight")).toEqual({ shape: [4, 24], dtype: "f32" });
    expect([...base.names()]).not.toContain("lm_head.weight");
    expect(model.info).toMatchObject({ task, labels: 4, architecture: "LlamaForSequenceClassification" });
    expect(sites(model).find((s) => s.path === "score")?.roles).toEqual(["head"]);
  });

  it("refuses texts that share a row, unless it is told how many there are", () => {
    const model = buildModel(configOf("gpt2"), { task: "sequence-classification" });
    const packed = { batch: 1, length: 4, packed: true };
    expect(model.inputs(new Trace(), { ...packed, texts: 2 }).judged?.shape).toEqual([2]);
    expect(() => model.inputs(new Trace(), packed)).toThrow(/turn packing off/);
  });

  it("says which tasks it has heads for", () => {
    expect(() => buildModel(configOf("gpt2"), { task: "masked-lm" })).toThrow(
      '"gpt2" has no head for the task masked-lm; it has heads for causal-lm, sequence-classification, token-classification.',
    );
  });
});
