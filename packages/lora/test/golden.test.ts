import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeAdapter, encodeAdapter, type JsonObject, type NamedValues } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { beforeAll, describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";
import { compute, expected, golden, goldenModel } from "./golden-model.ts";

/** Largest difference, relative to the largest value: transformers' norms and angles are f32 even in an f64 model. */
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const values = Array.from(b);
  return Math.max(...values.map((x, i) => Math.abs(x - a[i]!))) / Math.max(...values.map(Math.abs));
};
const TOLERANCE = 1e-5;

describe.each(["llama", "gpt2"])("adapters that PEFT made for a %s", (name) => {
  let setup: Awaited<ReturnType<typeof goldenModel>>;
  let of: Awaited<ReturnType<typeof expected>>;
  beforeAll(async () => {
    setup = await goldenModel(name);
    of = await expected(name);
  });

  it("stand on a model that computes what transformers computes", async () => {
    expect(distance((await compute(setup, null))["y"]!, await of("base.logits"))).toBeLessThan(TOLERANCE);
  });

  const cases = readdirSync(join(golden, name), { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? [e.name] : [],
  );
  describe.each(cases)("%s", (adapted) => {
    const folder = join(golden, name, adapted);
    const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as JsonObject;
    const load = () => loadAdapter(folder, setup.model, [lora]);

    it("has the same logits, loss and gradients here", async () => {
      const loaded = await load();
      const { y, loss, ...gradients } = await compute(setup, loaded);
      expect(distance(y!, await of(`${adapted}.logits`))).toBeLessThan(TOLERANCE);
      expect(distance(y!, await of("base.logits"))).toBeGreaterThan(0.01);
      expect(distance(loss!, await of(`${adapted}.loss`))).toBeLessThan(TOLERANCE);
      const state: NamedValues = new Map(
        Array.from(loaded.state, ([key, { shape }]) => [key, { shape, values: gradients[key]! }]),
      );
      for (const [key, { values }] of encodeAdapter(loaded.adapter, setup.model, state).tensors)
        expect(distance(values, await of(`${adapted}.${key}`)), key).toBeLessThan(TOLERANCE);
    });

    it("is written with the same keys, values and tensors", async () => {
      const { adapter, state } = await load();
      const written = encodeAdapter(adapter, setup.model, state);
      // How modules are named differs; that they are the same ones, the tensors tell.
      const chosen = { target_modules: null, exclude_modules: null };
      const start = config["init_lora_weights"];
      expect({ ...written.config, ...chosen, init_lora_weights: start }).toEqual({ ...config, ...chosen });
      expect(decodeAdapter(written, setup.model, [lora]).state).toEqual(state);
    });
  });
});
