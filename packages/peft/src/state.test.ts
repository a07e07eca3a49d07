import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { copy, gain, pair } from "../test/tiny-methods.ts";
import { tinyClassifier, tinyModel } from "../test/tiny-model.ts";
import { adapt, type Adapter } from "./adapt.ts";
import { ConfigError, StateError } from "./errors.ts";
import type { NamedValues } from "./interchange.ts";
import { decodeAdapter, encodeAdapter, nameWithin } from "./state.ts";

const model = tinyModel();
const methods = [pair, gain, copy];
/** A state of numbers that are all different. */
const stateOf = (adapter: Adapter): NamedValues => {
  let next = 0;
  return new Map(
    adapter.owned.map(({ name, shape }) => [
      nameWithin(adapter, name),
      { shape, values: new Float32Array(sizeOf(shape)).map(() => next++ / 64) },
    ]),
  );
};
const encoded = (adapted = [pair({ size: 3 })], id = "a") => {
  const adapter = adapt(model, adapted, { id });
  const state = stateOf(adapter);
  return { adapter, state, files: encodeAdapter(adapter, model, state, { base: "some/model" }) };
};
const renamed = (tensors: NamedValues, rename: (name: string) => string): NamedValues =>
  new Map([...tensors].map(([name, value]) => [rename(name), value]));

describe("an adapter of one method that PEFT has", () => {
  it("is written in PEFT's form", () => {
    const { config, tensors } = encoded().files;
    expect(config).toEqual({
      auto_mapping: null,
      base_model_name_or_path: "some/model",
      inference_mode: true,
      modules_to_save: null,
      peft_type: "PAIR",
      peft_version: "0.21.2",
      revision: null,
      size: 3,
      target_modules: ["mlp.up"],
      task_type: "CAUSAL_LM",
    });
    expect([...tensors.keys()]).toEqual([
      "base_model.model.model.layers.0.mlp.up_proj.a.weight",
      "base_model.model.model.layers.0.mlp.up_proj.b",
      "base_model.model.model.layers.1.mlp.up_proj.a.weight",
      "base_model.model.model.layers.1.mlp.up_proj.b",
    ]);
  });

  it("comes back with its configuration and its values", () => {
    const { files, state } = encoded();
    const { adapter, state: read } = decodeAdapter(files, model, methods);
    expect(adapter.methods.map((m) => [m.name, m.config])).toEqual([["pair", { size: 3, target: ["mlp.up"] }]]);
    expect(read).toEqual(state);
  });

  it.each(["default", "default2", "foodefault_bar", "model", "weight", "a"])(
    "has files that do not depend on its id, be it %s",
    (id) => {
      expect(encoded(undefined, id).files).toEqual(encoded().files);
    },
  );

  it.each<[string, (name: string) => string]>([
    ["without PEFT's prefix", (name) => name.replace("base_model.model.", "")],
    ["with one level of it", (name) => name.replace("base_model.model.model.", "base_model.model.")],
    [
      "with the adapter's name inside",
      (name) => name.replace(/(a\.weight|b)$/, (end) => end.replace(/^./, "$&.task1")),
    ],
    ["without .weight", (name) => name.replace(/\.weight$/, "")],
    ["with .weight everywhere", (name) => name.replace(/(?<!\.weight)$/, ".weight")],
    ["as the oldest versions did", (name) => name.replace(/\.([ab])(\.weight)?$/, ".$1.default")],
  ])("is read with names %s", (_, rename) => {
    const { files, state } = encoded();
    const tensors = renamed(files.tensors, rename);
    expect(tensors).not.toEqual(files.tensors);
    expect(decodeAdapter({ ...files, tensors }, model, methods).state).toEqual(state);
  });
});

describe("an adapter that PEFT does not have", () => {
  it("is written with the method's name and configuration, under plain names", () => {
    const { config, tensors } = encoded([copy()]).files;
    expect(config).toMatchObject({ peft_type: "GRAFT_COPY", methods: [{ name: "copy", target: ["bias"] }] });
    expect([...tensors.keys()]).toEqual(["model.layers.0.mlp.up_proj.bias", "model.layers.1.mlp.up_proj.bias"]);
  });

  it("may have several methods, which come back in their order", () => {
    const { files, state } = encoded([pair({ size: 1 }), gain(), copy()]);
    expect(files.config).toMatchObject({ peft_type: "GRAFT" });
    const read = decodeAdapter(files, model, methods, { id: "other" });
    expect(read.adapter.methods.map((m) => m.name)).toEqual(["pair", "gain", "copy"]);
    expect(read.adapter.methods[0]?.config).toEqual({ size: 1, target: ["mlp.up"] });
    expect(read.state).toEqual(state);
  });
});

describe("reading an adapter", () => {
  const fails = (change: { config?: object; tensors?: NamedValues }) => {
    const { files } = encoded();
    const changed = { config: { ...files.config, ...change.config }, tensors: change.tensors ?? files.tensors };
    return () => decodeAdapter(changed, model, methods);
  };
  const { tensors } = encoded().files;
  const [first = ""] = tensors.keys();

  it("refuses a type that no method reads, and names those it knows", () => {
    expect(fails({ config: { peft_type: "VERA" } })).toThrow(ConfigError);
    expect(fails({ config: { peft_type: "VERA" } })).toThrow(
      'no installed method reads peft_type "VERA". Known: PAIR (pair).',
    );
    expect(fails({ config: { peft_type: undefined } })).toThrow("no installed method reads peft_type undefined.");
  });

  it("refuses a method that is not installed, and names the nearest", () => {
    const config = { peft_type: "GRAFT_GIAN", methods: [{ name: "gian" }] };
    expect(fails({ config })).toThrow(
      'the method "gian" is not installed. Did you mean "gain"? Installed: pair, gain, copy.',
    );
    expect(fails({ config: { ...config, methods: "gain" } })).toThrow('"methods" must be a list, not "gain".');
  });

  it("checks the configuration as it checks a user's", () => {
    expect(fails({ config: { size: 0 } })).toThrow("pair.size: Too small: expected number to be >=1");
  });

  it("refuses missing, unexpected and ill-shaped tensors and lists them", () => {
    const changed = new Map(tensors);
    changed.delete(first);
    changed.set("base_model.model.lm_head.weight", { shape: [1], values: Float32Array.of(1) });
    changed.set("base_model.model.model.layers.1.mlp.up_proj.b", { shape: [6, 2], values: new Float32Array(12) });
    expect(fails({ tensors: changed })).toThrow(StateError);
    expect(fails({ tensors: changed })).toThrow(
      "the state does not fit pair on this model. missing (1 of 4): model.layers.0.mlp.up_proj.a.weight; unexpected: lm_head.weight; wrong shape: model.layers.1.mlp.up_proj.b is [6, 2], its configuration wants [6, 3].",
    );
  });

  it("refuses a configuration whose size is not that of the tensors", () => {
    expect(fails({ config: { size: 2 } })).toThrow("b is [6, 3], its configuration wants [6, 2]");
  });

  it("refuses two tensors that stand for one parameter", () => {
    const twice = new Map([...tensors, [first.replace("base_model.model.", ""), tensors.get(first)!]]);
    expect(fails({ tensors: twice })).toThrow("both stand for model.layers.0.mlp.up_proj.a.weight.");
  });

  it("does not take one parameter for another that shares its place", () => {
    const { files } = encoded([copy({ target: ["up_proj.bias", "0.mlp.up_proj.weight"] })]);
    const without = new Map(files.tensors);
    without.delete("model.layers.0.mlp.up_proj.weight");
    expect(() => decodeAdapter({ ...files, tensors: without }, model, methods)).toThrow(
      "missing (1 of 3): model.layers.0.mlp.up_proj.weight.",
    );
  });
});

describe("a task's head", () => {
  const classifier = tinyClassifier();
  const filesOf = (adapter: Adapter) => encodeAdapter(adapter, classifier, stateOf(adapter));
  const head = ["classifier.weight", "classifier.bias"];
  const ownedBy = (adapter: Adapter) => adapter.owned.map(({ name }) => nameWithin(adapter, name));

  it("is trained and saved beside every method, as PEFT's modules_to_save", () => {
    const adapter = adapt(classifier, [pair()]);
    expect(ownedBy(adapter)).toEqual(expect.arrayContaining(head));
    const { config, tensors } = filesOf(adapter);
    expect(config).toMatchObject({ modules_to_save: ["classifier"], task_type: "SEQ_CLS" });
    expect([...tensors.keys()].slice(-2)).toEqual(head.map((name) => `base_model.model.${name}`));
  });

  it.each([["of PEFT", [pair()]] as const, ["of ours", [gain()]] as const])(
    "comes back from the files of a method %s",
    (_, adapted) => {
      const { tensors, config } = filesOf(adapt(classifier, adapted));
      const loaded = decodeAdapter({ tensors, config }, classifier, methods);
      expect(loaded.adapter.modules).toEqual(["classifier"]);
      expect(filesOf(loaded.adapter).tensors.size).toBe(tensors.size);
      expect(loaded.state.get("classifier.bias")).toEqual([...tensors].find(([name]) => name.endsWith(head[1]!))?.[1]);
    },
  );

  it("is found where PEFT lists the names that a task's heads may have", () => {
    const files = filesOf(adapt(classifier, [pair()]));
    const config = { ...files.config, modules_to_save: ["classifier", "score"] };
    expect(decodeAdapter({ ...files, config }, classifier, methods).adapter.modules).toEqual(["classifier"]);
  });

  it("is no part of a file that holds none", () => {
    const { adapter } = decodeAdapter(filesOf(adapt(classifier, [pair()], { modules: [] })), classifier, methods);
    expect(adapter.modules).toEqual([]);
  });

  it("is refused where the file names modules and holds none of them", () => {
    const files = filesOf(adapt(classifier, [pair()], { modules: [] }));
    const config = { ...files.config, modules_to_save: ["score"] };
    expect(() => decodeAdapter({ ...files, config }, classifier, methods)).toThrow(
      '"modules_to_save" names score, but the file holds none of them.',
    );
  });

  it("is not part of a frozen adapter, nor of one whose modules are chosen", () => {
    expect(adapt(classifier, [pair()], { trainable: false }).modules).toEqual([]);
    expect(() => adapt(classifier, [pair()], { modules: ["score"] })).toThrow(
      "score is to be trained and saved whole, but the model has no such module.",
    );
  });

  it("has a pooler with it that no checkpoint had, but for what a method has a copy of itself", () => {
    const pooling = tinyClassifier({ pooler: true });
    const drawn = ["model.pooler.dense.weight", "model.pooler.dense.bias", ...head];
    expect(adapt(pooling, [pair()]).modules).toEqual(["classifier"]);
    const adapter = adapt(pooling, [pair()], { drawn });
    expect(adapter.modules).toEqual(["classifier", "model.pooler.dense"]);
    expect(ownedBy(adapter)).toEqual(expect.arrayContaining(drawn));
    const copies = adapt(pooling, [copy()], { drawn }).owned.filter((o) => o.name.endsWith("pooler.dense.bias"));
    expect(copies.map((o) => o.layer.name)).toEqual(["copy"]);
  });
});
