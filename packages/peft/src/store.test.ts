import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { copy, pair } from "../test/tiny-methods.ts";
import { baseOf, tinyModel, tinyShapes } from "../test/tiny-model.ts";
import { adapt } from "./adapt.ts";
import type { Base } from "./model.ts";
import { declareAdapter, declareBase, readState } from "./store.ts";

const model = tinyModel();
const base = baseOf(tinyShapes());
const state = async (seed: number, { id = "a", methods = [pair()], from = base } = {}) => {
  const store = hostRuntime().store();
  const adapter = adapt(model, methods, { id });
  declareAdapter(store, adapter, from, { seed });
  return readState(store, adapter);
};

describe("a base in a store", () => {
  it("has every parameter, in the type it is stored in", () => {
    const store = hostRuntime().store();
    declareBase(store, base);
    for (const [name, shape] of tinyShapes())
      expect(store.declaration(name)).toMatchObject({ shape, dtype: "f32", kind: "weights" });
  });

  it("keeps half-precision matrices as words and widens vectors", async () => {
    const halves = {
      "lm_head.weight": new Uint16Array(28).fill(0x3c00),
      "model.layers.0.mlp.up_proj.bias": new Uint16Array(6).fill(0xc000),
    };
    const store = hostRuntime().store();
    declareBase(store, baseOf(tinyShapes(), halves));
    expect(store.declaration("lm_head.weight").dtype).toBe("f16");
    expect(store.declaration("model.layers.0.mlp.up_proj.bias").dtype).toBe("f32");
    expect([...(await store.read("model.layers.0.mlp.up_proj.bias"))]).toEqual(Array(6).fill(-2));
  });

  it("is taken piece by piece where it has pieces", async () => {
    const values = Float32Array.from({ length: 28 }, (_, i) => i);
    async function* pieces() {
      const piece = new Float32Array(14); // used again, as a file does
      for (const at of [0, 14]) {
        piece.set(values.subarray(at, at + 14));
        yield piece;
      }
    }
    const store = hostRuntime().store();
    declareBase(store, { ...base, pieces: (name) => (name === "lm_head.weight" ? pieces() : null) });
    expect(await store.read("lm_head.weight")).toEqual(Float64Array.from(values));
    const norm = "model.layers.0.mlp.up_proj.bias";
    expect([...(await store.read(norm))]).toEqual([...((await base.read(norm)) as Float32Array)]);
  });

  it("is read only where a program reaches", async () => {
    const read: string[] = [];
    const watched: Base = { ...base, read: (name) => (read.push(name), base.read(name)) };
    const store = hostRuntime().store();
    declareBase(store, watched);
    expect(read).toEqual([]);
    await store.read("lm_head.weight");
    expect(read).toEqual(["lm_head.weight"]);
  });
});

describe("an adapter in a store", () => {
  it("has its trainable parameters side by side, with what an optimizer must know", () => {
    const [bucket, ...others] = declareAdapter(hostRuntime().store(), adapt(model, [pair(), copy()]), base, {
      seed: 0,
    });
    expect(others).toEqual([]);
    const options = new Map(bucket?.members.map(({ name, lrScale, decay }) => [name, { lrScale, decay }]));
    expect(options.get("default/model.layers.0.mlp.up_proj.b")).toEqual({ lrScale: 1, decay: true });
    expect(options.get("default/model.layers.1.mlp.up_proj.bias")).toEqual({ lrScale: 2, decay: false });
  });

  it("has no buckets when it is frozen, and the same values", async () => {
    const adapter = adapt(model, [pair()], { id: "a", trainable: false });
    const store = hostRuntime().store();
    expect(declareAdapter(store, adapter, base, { seed: 3 })).toEqual([]);
    expect(await readState(store, adapter)).toEqual(await state(3));
  });

  it("starts from the same bits for the same seed, whatever else there is, and from others for another seed", async () => {
    const start = await state(7);
    expect(await state(7)).toEqual(start);
    const beside = await state(7, { methods: [copy(), pair()] });
    for (const [name, value] of start) {
      expect(beside.get(name)).toEqual(value);
      expect((await state(8)).get(name)).not.toEqual(value);
    }
  });

  it("starts a copy of a half-precision parameter from its numbers", async () => {
    const name = "model.layers.0.mlp.up_proj.bias";
    const from = baseOf(tinyShapes(), { [name]: new Uint16Array(6).fill(0x3e00) });
    expect([...((await state(0, { methods: [copy()], from })).get(name)?.values ?? [])]).toEqual(Array(6).fill(1.5));
  });

  it("starts from a given state, whatever id it was saved under", async () => {
    const given = await state(1, { id: "saved" });
    const store = hostRuntime().store();
    const adapter = adapt(model, [pair()], { id: "loaded" });
    declareAdapter(store, adapter, base, { seed: 2, state: given });
    expect(await readState(store, adapter)).toEqual(given);
  });
});
