import { describeMethod, gradients, randomBase, started, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { adapt, copyOf, defineMethod, type Model, sites, z } from "@graftml/peft";
import { hostRuntime, sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { randomSubset } from "./index.ts";

describeMethod(randomSubset, [{ fraction: 0.1 }, { fraction: 0.3, pattern: "lines", seed: 3 }], {
  except: {
    seed: "what is added starts at zero, whatever the seed",
    interchange: "PEFT's SHiRA draws a subset of each linear's own size and knows nothing of other parameters",
    mix: "rows of a batch share the parameters",
  },
  readme: new URL("../README.md", import.meta.url),
});

type Given = Parameters<typeof randomSubset>[0];
const model = tinyLlama();
const rig = (on: Model) => ({ model: on, base: randomBase(on), runtime: hostRuntime() });

/** Places that are trained, by parameter: where a change of the trained number shows. */
const places = async (given: Given): Promise<ReadonlyMap<string, readonly number[]>> => {
  const { owned } = adapt(model, [randomSubset(given)], { id: "a" });
  const slots = owned.filter((o) => o.name.endsWith(".slots"));
  const read = slots.map(async (o): Promise<[string, number[]]> => {
    const values = Array.from(await o.init(o.shape, { uniform: () => 0, normal: () => 0 }, randomBase(model)));
    return [o.name.slice("a/".length, -".slots".length), values.flatMap((slot, i) => (slot < 0 ? [] : [i]))];
  });
  return new Map(await Promise.all(read));
};
const total = (chosen: ReadonlyMap<string, readonly number[]>): number =>
  [...chosen.values()].reduce((sum, { length }) => sum + length, 0);

describe("random-subset", () => {
  it("takes its share of all numbers, from small parameters on average", async () => {
    const wide = tinyGpt2({
      sizes: { vocabulary: 100, hidden: 32, inner: 64, heads: 4, keyHeads: 4, layers: 6, positions: 32 },
    });
    const { owned, sites } = adapt(wide, [randomSubset({ fraction: 0.01 })]);
    const trained = owned.filter((o) => o.trainable).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const all = sites.reduce((sum, { site }) => sum + (site.kind === "param" ? sizeOf(site.shape) : 0), 0);
    expect(trained / all).toBeCloseTo(0.01, 3);
  });

  it("takes the same for the same seed, others for another, and does not ask the run's", async () => {
    const chosen = await places({ fraction: 0.1 });
    expect(await places({ fraction: 0.1 })).toEqual(chosen);
    expect(await places({ fraction: 0.1, seed: 1 })).not.toEqual(chosen);
  });

  it("takes everything if the fraction is 1", async () => {
    const all = sites(model).reduce((sum, s) => sum + (s.kind === "param" ? sizeOf(s.shape) : 0), 0);
    for (const pattern of ["scalars", "lines"] as const)
      expect(total(await places({ fraction: 1, pattern }))).toBe(all);
  });

  it("takes whole rows or columns of matrices if told to", async () => {
    const [rows, columns] = [12, 8];
    const chosen = (await places({ fraction: 0.25, pattern: "lines" })).get("model.layers.0.mlp.up_proj.weight")!;
    const lines = (of: (i: number) => number, length: number): boolean =>
      new Set(chosen.map(of)).size * length === chosen.length;
    expect(lines((i) => Math.floor(i / columns), columns) || lines((i) => i % columns, rows)).toBe(true);
  });

  it("has at each place the gradient that the whole parameter has there", async () => {
    const path = "model.layers.1.mlp.down_proj.weight";
    const whole = defineMethod({
      contract: 1,
      name: "whole",
      group: "addition",
      source: "none",
      config: z.object({}),
      adapt: () => ({
        param: { at: [path], wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)) },
      }),
    });
    const setup = rig(model);
    const of = async (method: ReturnType<typeof whole>): Promise<ReadonlyMap<string, unknown>> =>
      (await gradients(setup, [await started(setup, adapt(model, [method]))])).of;
    const full = (await of(whole())).get(`default/${path}`) as ArrayLike<number>;
    const some = (await of(randomSubset({ fraction: 0.2 }))).get(`default/${path}.values`) as ArrayLike<number>;
    const chosen = (await places({ fraction: 0.2 })).get(path)!;
    expect(chosen.length).toBeGreaterThan(5);
    chosen.forEach((place, i) => expect(some[i]).toBeCloseTo(full[place]!, 12));
  });
});
