import { tinyGpt2, tinyLlama } from "@graftml/conformance";
import {
  adapt,
  ConfigError,
  decodeAdapter,
  encodeAdapter,
  type JsonObject,
  type Model,
  type ShapedValues,
} from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { lora } from "./index.ts";

const llama = tinyLlama();
const gpt2 = tinyGpt2();
type Given = Parameters<typeof lora>[0];

/** Files of a fresh adapter, with zeros for values. */
const write = (given: Given, model: Model = llama) => {
  const adapter = adapt(model, [lora(given)]);
  const zero = (shape: readonly number[]): ShapedValues => ({ shape, values: new Float32Array(sizeOf(shape)) });
  return encodeAdapter(
    adapter,
    model,
    new Map(adapter.owned.map((o) => [o.name.slice("default/".length), zero(o.shape)])),
  );
};
/** The configuration that is read from such files after a change to adapter_config.json. */
const read = (change: JsonObject, given: Given = {}, model: Model = llama) => {
  const files = write(given, model);
  return decodeAdapter({ ...files, config: { ...files.config, ...change } }, model, [lora]).adapter.methods[0]?.config;
};

describe("the modules that PEFT is told to adapt", () => {
  it.each<[string, Given, Model, readonly string[]]>([
    ["the last part of the name, where that is enough", {}, llama, ["q_proj", "v_proj"]],
    ["the fused projection", {}, gpt2, ["c_attn"]],
    ["more of the path, where the last part says too much", { target: ["mlp.down"] }, gpt2, ["mlp.c_proj"]],
    ["the last part, where all that bear it are meant", { target: ["mlp.down", "attn.o"] }, gpt2, ["c_proj"]],
    [
      "the path down from the block, where blocks differ",
      { target: ["1.mlp.down_proj", "q_proj"] },
      llama,
      ["q_proj", "1.mlp.down_proj"],
    ],
    ["the last part, with the blocks named elsewhere", { target: ["mlp.down"], layers: [1] }, llama, ["down_proj"]],
    ["every linear but the head", { target: "all-linear" }, gpt2, ["c_attn", "c_fc", "c_proj"]],
    ["the head by its name", { target: ["unembed"] }, llama, ["lm_head"]],
  ])("are named by %s", (_, given, model, modules) => {
    expect([...(write(given, model).config["target_modules"] as string[])].sort()).toEqual([...modules].sort());
  });

  it("are told to lie transposed in GPT-2, and only there", () => {
    expect(write({}, gpt2).config["fan_in_fan_out"]).toBe(true);
    expect(write({}, llama).config["fan_in_fan_out"]).toBe(false);
    expect(write({ target: ["unembed"] }, gpt2).config["fan_in_fan_out"]).toBe(false);
  });
});

describe("a PEFT configuration", () => {
  it("may be as short as PEFT allows", () => {
    const files = write({});
    const config = { peft_type: "LORA", target_modules: ["v_proj", "q_proj"] };
    expect(decodeAdapter({ ...files, config }, llama, [lora]).adapter.methods[0]?.config).toMatchObject({
      rank: 8,
      alpha: 8,
      dropout: 0,
    });
    expect(() => decodeAdapter({ ...files, config: { peft_type: "LORA" } }, llama, [lora])).not.toThrow();
  });

  it("may name modules that this model does not have, as PEFT allows", () => {
    expect(read({ target_modules: ["q_proj", "v_proj", "query_key_value"], exclude_modules: ["score"] })).toMatchObject(
      {
        target: ["q_proj", "v_proj"],
        exclude: [],
      },
    );
    expect(read({ rank_pattern: { query_key_value: 4 } })).toMatchObject({ rank_pattern: {} });
  });

  it("may give one block as a number, and none as an empty list", () => {
    expect(read({ layers_to_transform: 1 }, { layers: [1] })).toMatchObject({ layers: [1] });
    expect(read({ layers_to_transform: [] })).toMatchObject({ layers: null });
  });

  it("says nothing by bias: all where there is none", () => {
    expect(read({ bias: "all" })).toMatchObject({ bias: "none" });
    expect(read({}, { bias: "all" }, gpt2)).toMatchObject({ bias: "all" });
  });

  it.each<[string, JsonObject, string]>([
    [
      "another method's switch",
      { use_qalora: true },
      'adapter_config.json: lora cannot do what "use_qalora": true asks for.',
    ],
    ["a key of a later version that says something", { use_something: 3 }, '"use_something": 3'],
    [
      "a start that changed the base",
      { init_lora_weights: "pissa" },
      '"init_lora_weights": "pissa" asks for. Such an adapter goes with a changed base',
    ],
    ["a value of the wrong type", { r: "8" }, "lora.rank: Invalid input: expected number, received string"],
  ])("is refused for %s", (_, change, message) => {
    expect(() => read(change)).toThrow(ConfigError);
    expect(() => read(change)).toThrow(message);
  });

  it("is not refused for keys that say nothing, or only how training started", () => {
    expect(() =>
      read({ use_something: false, some_config: null, init_lora_weights: "eva", eva_config: { rho: 2 } }),
    ).not.toThrow();
  });

  it("must agree with the tensors", () => {
    expect(() => read({ r: 4 })).toThrow("lora_A.weight is [8, 8], its configuration wants [4, 8]");
  });

  it("may come with the weight of an adapted head beside it", () => {
    const files = write({ target: ["unembed"] });
    const head = (shape: readonly number[]) =>
      new Map([
        ...files.tensors,
        ["base_model.model.lm_head.base_layer.weight", { shape, values: new Float32Array(104) }],
      ]);
    expect(() => decodeAdapter({ ...files, tensors: head([13, 8]) }, llama, [lora])).not.toThrow();
    expect(() => decodeAdapter({ ...files, tensors: head([8, 13]) }, llama, [lora])).toThrow(
      "unexpected: lm_head.base_layer.weight",
    );
  });
});
