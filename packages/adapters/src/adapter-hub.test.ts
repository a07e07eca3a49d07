import { tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import {
  adapt,
  type Adapted,
  ConfigError,
  type JsonObject,
  type Model,
  type NamedValues,
  StateError,
} from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { inMemory } from "../test/in-memory.ts";
import { adapterHub, houlsby, parallel, pfeiffer } from "./index.ts";

const zeroed = (model: Model, method: Adapted) => {
  const adapter = adapt(model, [method]);
  const state: NamedValues = new Map(
    adapter.owned.map((o) => [
      o.name.slice("default/".length),
      { shape: o.shape, values: new Float32Array(sizeOf(o.shape)) },
    ]),
  );
  return { adapter, state };
};
/** Files of a fresh adapter, with zeros for values. */
const write = (model: Model, method: Adapted) => {
  const { adapter, state } = zeroed(model, method);
  return adapterHub.write?.(adapter, model, state, { name: "task", base: "some/model" }) ?? {};
};
const tensorNames = async (files: ReturnType<typeof write>): Promise<readonly string[]> => {
  const file = await (await inMemory(files)).open("adapter.safetensors");
  const bytes = await file.read(0, file.size);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as object;
  return Object.keys(header).filter((name) => name.endsWith("up.weight") || name.endsWith("F.0.weight"));
};
const named = (type: string, model: Model): Model => ({ ...model, info: { ...model.info, type } });

describe("names in AdapterHub's files", () => {
  const both = houlsby({ size: 2, train_norms: false, at: ["attn", "mlp"], leave_out: [1] });

  it.each<[string, Model, Adapted, readonly string[]]>([
    [
      "a decoder's blocks",
      tinyLlama(),
      both,
      ["model.layers.0.attention_adapters.adapters.task", "model.layers.0.output_adapters.adapters.task"],
    ],
    [
      "GPT-2's",
      tinyGpt2(),
      both,
      ["transformer.h.0.attention_adapters.adapters.task", "transformer.h.0.output_adapters.adapters.task"],
    ],
    [
      "BERT's outputs",
      tinyBert(),
      both,
      ["bert.encoder.layer.0.attention.output.adapters.task", "bert.encoder.layer.0.output.adapters.task"],
    ],
    [
      "ViT's",
      named("vit", tinyBert()),
      both,
      [
        "bert.encoder.layer.0.attention_adapters.adapters.task",
        "bert.encoder.layer.0.output.output_adapters.adapters.task",
      ],
    ],
    [
      "T5's sublayers",
      tinyT5(),
      houlsby({ size: 2, train_norms: false, at: ["attn", "cross", "mlp"], leave_out: [1, 3] }),
      [
        "encoder.block.0.layer.0.adapters.task",
        "encoder.block.0.layer.1.adapters.task",
        "decoder.block.0.layer.0.adapters.task",
        "decoder.block.0.layer.1.adapters.task",
        "decoder.block.0.layer.2.adapters.task",
      ],
    ],
  ])("are those of %s", async (_, model, method, modules) => {
    expect([...(await tensorNames(write(model, method)))].sort()).toEqual(
      modules.map((module) => `${module}.adapter_up.weight`).sort(),
    );
  });

  it("are at the body's top for an invertible adapter", async () => {
    const names = await tensorNames(write(tinyGpt2(), pfeiffer({ invertible: {}, size: 2 })));
    expect(names).toContain("transformer.invertible_adapters.task.F.0.weight");
  });
});

describe("AdapterHub's folders", () => {
  const bert = tinyBert();
  const changed = async (change: JsonObject, about: JsonObject = {}) => {
    const files = write(bert, pfeiffer({ size: 2 }));
    const config = JSON.parse(files["adapter_config.json"] as string) as { readonly config: JsonObject };
    const text = JSON.stringify({ ...config, ...about, config: { ...config.config, ...change } });
    return adapterHub.read(await inMemory({ ...files, "adapter_config.json": text }), bert, []);
  };

  it.each<[string, Adapted]>([
    ["a size that does not divide the width", pfeiffer({ size: 3 })],
    ["a size of its own", houlsby({ size: 5, train_norms: false })],
    ["no size at all", houlsby({ train_norms: false })],
  ])("keep %s", async (_, method) => {
    const { adapter } = await adapterHub.read(await inMemory(write(bert, method)), bert, []);
    expect(adapter.owned.map((o) => o.shape)).toEqual(zeroed(bert, method).adapter.owned.map((o) => o.shape));
  });

  it("write a fixed scaling as a float, by which AdapterHub knows it", () => {
    expect(write(bert, parallel({ scaling: 4 }))["adapter_config.json"]).toContain('"scaling": 4.0');
    expect(write(bert, parallel({ scaling: 0.5 }))["adapter_config.json"]).toContain('"scaling": 0.5');
    expect(write(bert, parallel({ scaling: "learned" }))["adapter_config.json"]).toContain('"scaling": "learned"');
  });

  it("are read as old versions wrote them", async () => {
    const renamed: JsonObject = {
      non_linearity: "gelu",
      invertible_adapter: { block_type: "nice", reduction_factor: 4 },
    };
    const files = write(bert, pfeiffer({ size: 2, invertible: { reduction: 4 } }));
    const {
      config,
      version: _,
      ...about
    } = JSON.parse(files["adapter_config.json"] as string) as {
      readonly config: JsonObject;
      readonly version: string;
    };
    const { inv_adapter: __, inv_adapter_reduction_factor: ___, ...old } = config;
    const text = JSON.stringify({ ...about, config: { ...old, ...renamed } });
    const read = await adapterHub.read(await inMemory({ ...files, "adapter_config.json": text }), bert, []);
    expect(read.adapter.methods[0]?.config).toMatchObject({
      activation: "gelu_new",
      invertible: { reduction: 4 },
    });
  });

  it.each<[string, JsonObject, string]>([
    ["gates", { use_gating: true }, 'pfeiffer cannot do what "use_gating": true asks for'],
    ["PHM layers", { phm_layer: true }, '"phm_layer": true'],
    ["norms of their own", { ln_after: true }, '"ln_after": true'],
    ["flows other than NICE", { inv_adapter: "glow" }, '"inv_adapter": "glow"'],
    ["other methods", { architecture: "prefix_tuning" }, 'this is a "prefix_tuning" of AdapterHub'],
    ["an activation that is not known", { non_linearity: "mish" }, "pfeiffer.activation"],
  ])("are refused for %s", async (_, change, message) => {
    await expect(changed(change)).rejects.toThrow(ConfigError);
    await expect(changed(change)).rejects.toThrow(message);
  });

  it("are refused without a name, a configuration or the head of this model", async () => {
    await expect(changed({}, { name: null })).rejects.toThrow('does not say the adapter\'s "name"');
    const files = write(bert, pfeiffer({ size: 2 }));
    const read = async (other: Readonly<Record<string, string>>) =>
      adapterHub.read(await inMemory({ ...files, ...other }), bert, []);
    await expect(read({ "adapter_config.json": '{"name": "task", "config": "pfeiffer"}' })).rejects.toThrow(
      '"config" is "pfeiffer"; only a configuration written out can be read',
    );
    const head = write(tinyLlama(), pfeiffer({ size: 2 }))["adapter.safetensors"];
    await expect(
      adapterHub.read(await inMemory({ ...files, ...(head && { "model_head.safetensors": head }) }), bert, []),
    ).rejects.toThrow(StateError);
  });

  it("have no place for trained norms, other methods or several at once", () => {
    expect(() => write(bert, houlsby())).toThrow("no place for trained norms; train houlsby with train_norms: false");
    const { adapter, state } = zeroed(bert, pfeiffer({ size: 2 }));
    const two = { ...adapter, methods: [...adapter.methods, ...adapter.methods] };
    expect(() => adapterHub.write?.(two, bert, state, { name: "a", base: null })).toThrow("hold one method");
  });
});
