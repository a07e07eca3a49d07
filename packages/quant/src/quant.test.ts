import { readFileSync } from "node:fs";
import { configTable, logits, randomBase, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import {
  adapt,
  AdaptError,
  encodeAdapter,
  merge,
  type Model,
  openScope,
  rngOf,
  predict,
  sites,
  StateError,
} from "@graftml/peft";
import { grad, hostRuntime, mean, Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { retrained } from "../test/retrained.ts";
import { quant } from "./index.ts";

const models: readonly (readonly [string, Model])[] = [tinyLlama(), tinyGpt2(), tinyBert(), tinyT5()].map((model) => [
  model.info.type,
  model,
]);

describe.each(models)("quant on a %s", (_, model) => {
  it("stores every linear's weight but the head's, and nothing else", () => {
    const linears = sites(model).filter(
      (s) => s.kind === "linear" && !s.roles.some((r) => r === "unembed" || r === "head"),
    );
    const stored = adapt(model, [quant()], { modules: [] }).owned.map((o) => o.site.path);
    expect([...new Set(stored)].sort()).toEqual([...new Set(linears.map((s) => s.weight))].sort());
  });

  it("says attached what the model says with its decoded weights, and merges into them", async () => {
    const rig = { model, base: randomBase(model), runtime: hostRuntime() };
    const adapter = adapt(model, [quant()], { modules: [] });
    const merged = merge(model, rig.base, [{ adapter, state: new Map() }]);
    const attached = await logits(rig, [{ adapter }]);
    expect(attached).toEqual(await logits({ ...rig, base: merged }));
    expect(attached).not.toEqual(await logits(rig));
  });
});

describe("quant", () => {
  const model = tinyLlama();

  it("shows its keys in its README as they are", () => {
    expect(readFileSync(new URL("../README.md", import.meta.url), "utf8")).toContain(configTable(quant));
  });

  it("is not mentioned in the files of what is trained on it", () => {
    const state = (methods: Parameters<typeof adapt>[1]): unknown => {
      const adapter = adapt(model, methods);
      const values = adapter.owned.flatMap((o) =>
        o.persist === true
          ? [[o.name.slice("default/".length), { shape: o.shape, values: new Float32Array() }] as const]
          : [],
      );
      return encodeAdapter(adapter, model, new Map(values));
    };
    expect(state([quant(), retrained()])).toEqual(state([retrained()]));
  });

  it("must be innermost and stand alone there, and says so", () => {
    expect(() => adapt(model, [retrained(), quant()])).toThrow(AdaptError);
    const below = adapt(model, [quant()], { id: "base", trainable: false });
    expect(() => adapt(model, [quant({ type: "fp4" })], { below: [below] })).toThrow("hides quant");
  });

  it("names a weight that cannot be quantized", async () => {
    const base = randomBase(model);
    const broken = {
      ...base,
      read: async (name: string) => ((await base.read(name)) as Float32Array).map((x, i) => (i === 3 ? NaN : x)),
    };
    const merged = merge(model, broken, [{ adapter: adapt(model, [quant()]), state: new Map() }]);
    await expect(merged.read("model.layers.0.mlp.up_proj.weight")).rejects.toThrow(StateError);
    await expect(merged.read("model.layers.0.mlp.up_proj.weight")).rejects.toThrow("model.layers.0.mlp.up_proj.weight");
  });

  it("reads each weight once, and holds the codes of no more than one", async () => {
    const reads: string[] = [];
    const base = randomBase(model);
    const watched = {
      ...base,
      read: async (name: string) => {
        reads.push(name);
        return base.read(name);
      },
    };
    const { owned } = adapt(model, [quant({ double_quant: true })]);
    for (const { name, shape, init } of owned) await init(shape, rngOf(0, name), watched);
    expect(reads).toEqual([...new Set(owned.map((o) => o.site.path))]);
    await owned[0]?.init(owned[0].shape, rngOf(0, ""), watched);
    expect(reads.at(-1)).toBe(reads[0]); // long forgotten, so it is read again
  });

  it("leaves gradients to what is trained: codes have none", () => {
    const trace = new Trace();
    const adapter = adapt(model, [quant(), retrained()]);
    const scope = openScope(trace, adapter.layers, { train: true, model: model.info });
    const loss = mean(predict(model, scope, { batch: 1, length: 4 }));
    const trained = adapter.owned.filter((o) => o.trainable).map((o) => trace.param(o.name, o.shape));
    expect(grad(loss, trained).every((g) => g !== null)).toBe(true);
  });
});
