import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { copy, gain, halve, pair } from "../test/tiny-methods.ts";
import { baseOf, tinyModel, tinyShapes } from "../test/tiny-model.ts";
import { adapt } from "./adapt.ts";
import { NotMergeable } from "./errors.ts";
import { merge } from "./merge.ts";
import type { Adapted } from "./method.ts";
import { type Base, predict } from "./model.ts";
import { openScope } from "./scope.ts";
import type { Loaded } from "./state.ts";
import { declareAdapter, declareBase, readState } from "./store.ts";

const model = tinyModel();
const base = baseOf(tinyShapes());

/** An adapter with random values. */
async function load(
  methods: readonly Adapted[],
  { id = "a", of = model, below = [] as readonly Loaded[] } = {},
): Promise<Loaded> {
  const adapter = adapt(of, methods, { id, below: below.map((l) => l.adapter) });
  const store = hostRuntime().store();
  declareAdapter(store, adapter, base, { seed: 5 });
  const state = await readState(store, adapter);
  for (const { values } of state.values()) values.forEach((v, i) => (values[i] = v + 0.1 * (i % 3)));
  return { adapter, state };
}

/** Logits of two tokens and four. */
async function logits(from: Base, loaded: readonly Loaded[] = [], of = model): Promise<readonly number[]> {
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, from);
  for (const { adapter, state } of loaded) declareAdapter(store, adapter, from, { seed: 0, state });
  const layers = loaded.flatMap((l) => l.adapter.layers);
  const program = await runtime.compile(store, (trace) => {
    const scope = openScope(trace, layers, { train: false, model: of.info });
    return { y: predict(of, scope, { batch: 1, length: 2 }) };
  });
  return [...((await program.run({ ids: [2, 4] }))["y"] ?? [])];
}

const difference = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? NaN))));

describe("merging", () => {
  it.each<[string, readonly Adapted[]]>([
    ["a linear's method", [pair()]],
    ["a method that changes biases too", [gain()]],
    ["a method of parameters", [copy({ target: ["up_proj.bias", "down_proj.weight"] })]],
    ["inner methods before outer ones", [copy({ target: ["bias", "weight"] }), pair(), gain()]],
    ["outer ones before inner ones", [gain(), pair()]],
  ])("folds in %s: the model then says what it says with the adapter", async (_, methods) => {
    const loaded = await load(methods);
    const attached = await logits(base, [loaded]);
    expect(difference(attached, await logits(base))).toBeGreaterThan(1e-3);
    expect(difference(attached, await logits(merge(model, base, [loaded])))).toBeLessThan(1e-6);
  });

  it("of several adapters is the same one by one and together", async () => {
    const first = await load([pair()], { id: "first" });
    const second = await load([gain()], { id: "second", below: [first] });
    const together = await logits(merge(model, base, [first, second]));
    expect(difference(together, await logits(merge(model, merge(model, base, [first]), [second])))).toBeLessThan(1e-6);
    expect(difference(together, await logits(base, [first, second]))).toBeLessThan(1e-6);
  });

  it("reads what no method changes from the base, as it is stored", async () => {
    const words = { "model.embed_tokens.weight": new Uint16Array(28).fill(0x3c00) };
    const half = baseOf(tinyShapes(), words);
    const merged = merge(model, half, [await load([pair()])]);
    expect(merged.describe("model.embed_tokens.weight")?.dtype).toBe("f16");
    expect(await merged.read("model.embed_tokens.weight")).toBe(words["model.embed_tokens.weight"]);
    expect([...merged.names()]).toEqual([...half.names()]);
  });

  it("folds into half-precision weights in f32", async () => {
    const name = "model.layers.0.mlp.up_proj.weight";
    const loaded = await load([pair()]);
    const ones = await merge(model, baseOf(tinyShapes(), { [name]: new Uint16Array(24).fill(0x3c00) }), [loaded]).read(
      name,
    );
    const twos = merge(model, baseOf(tinyShapes(), { [name]: new Uint16Array(24).fill(0x4000) }), [loaded]);
    expect(twos.describe(name)).toEqual({ shape: [6, 4], dtype: "f32" });
    (await twos.read(name)).forEach((v, i) => expect(v - (ones[i] ?? NaN)).toBeCloseTo(1, 6));
  });

  it("refuses what no weights can say, and names it", async () => {
    const loaded = await load([pair(), halve()]);
    expect(() => merge(model, base, [loaded])).toThrow(NotMergeable);
    expect(() => merge(model, base, [loaded])).toThrow(
      "halve cannot be merged: it acts on the layer at model.layers.0.",
    );
  });

  it("refuses to fold into a weight that serves two places, and names both", async () => {
    const tied = tinyModel({ tied: true });
    const loaded = await load([pair({ target: ["lm_head", "mlp.up"] })], { of: tied });
    expect(() => merge(tied, baseOf(tinyShapes({ tied: true })), [loaded])).toThrow(
      "pair cannot be merged at lm_head: its weight model.embed_tokens.weight also serves model.embed_tokens, which would change too.",
    );
  });

  it("folds elsewhere in a tied model, and into the tied parameter itself", async () => {
    const tied = tinyModel({ tied: true });
    const from = baseOf(tinyShapes({ tied: true }));
    const loaded = await load([copy({ target: ["embed_tokens.weight"] }), pair()], { of: tied });
    expect(
      difference(await logits(from, [loaded], tied), await logits(merge(tied, from, [loaded]), [], tied)),
    ).toBeLessThan(1e-6);
  });

  it.each([NaN, Infinity])("refuses an adapter that holds %d, and names the tensor", async (bad) => {
    const loaded = await load([pair()]);
    loaded.state.get("model.layers.1.mlp.up_proj.b")!.values[3] = bad;
    expect(() => merge(model, base, [loaded])).toThrow(
      `a/model.layers.1.mlp.up_proj.b holds ${bad}. The base is untouched.`,
    );
  });

  it("refuses a fold that overflows, and names the parameter", async () => {
    const loaded = await load([pair()]);
    loaded.state.get("model.layers.1.mlp.up_proj.b")!.values.fill(3e38);
    loaded.state.get("model.layers.1.mlp.up_proj.a.weight")!.values.fill(10);
    const merged = merge(model, base, [loaded]);
    await expect(merged.read("model.layers.1.mlp.up_proj.weight")).rejects.toThrow(
      "folding pair into model.layers.1.mlp.up_proj.weight gives Infinity. The base is untouched.",
    );
  });
});
