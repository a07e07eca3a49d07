import { describeMethod, fit, randomBase, type Rig, started, tinyBert, tinyLlama } from "@graftml/conformance";
import { adapt, decodeAdapter, encodeAdapter, merge, rngOf } from "@graftml/peft";
import { hostRuntime, run, sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { largest } from "./diffprune.ts";
import { gate, gateOf, open } from "./gates.ts";
import { diffprune } from "./index.ts";

const stretch = { left: -1.5, right: 1.5 };

describeMethod(
  diffprune,
  [
    { fraction: 1, alpha: 0.3 },
    { fraction: 1, structured: true, l0: 1e-3, target: ["attn.q", "mlp.up"] },
  ],
  {
    except: {
      seed: "it starts at zero",
      interchange: "PEFT's files hold a change once it is cut down to its budget",
    },
    readme: new URL("../README.md", import.meta.url),
  },
);
describe("a gate", () => {
  it("is between 0 and 1, and closed as often as the formula says", async () => {
    const rng = rngOf(0, "gates");
    const n = 20_000;
    const noise = Float32Array.from({ length: n }, () => rng.uniform());
    for (const alpha of [-1, 0, 1.5]) {
      const { z, p } = await run(({ u, a }) => ({ z: gate(a, u, stretch), p: open(a, stretch) }), {
        u: { shape: [n], values: noise },
        a: { shape: [1], values: [alpha] },
      });
      expect(Math.min(...z!)).toBe(0);
      expect(Math.max(...z!)).toBe(1);
      const closed = z!.filter((v: number) => v === 0).length / n;
      expect(Math.abs(1 - p![0]! - closed)).toBeLessThan(0.01);
    }
  });

  it("without noise is the same on the host", () => {
    expect(gateOf(5, stretch)).toBe(1);
    expect(gateOf(0, stretch)).toBe(0);
    expect(gateOf(1, stretch)).toBeCloseTo(3 / (1 + Math.exp(-1)) - 1.5, 12);
  });
});

describe("the largest numbers", () => {
  it("are as many as the budget says, over all parts together, the first of equals", () => {
    const masks = largest([Float32Array.of(1, -5, 2), Float32Array.of(2, 0, 2)], 0.5);
    expect(masks.map((m) => [...m])).toEqual([
      [0, 1, 1],
      [1, 0, 0],
    ]);
  });

  it.each([0, 1])("may be a share of %s", (fraction) => {
    const [mask] = largest([Float32Array.of(0, 0, 3)], fraction);
    expect([...mask!]).toEqual([fraction, fraction, fraction]);
  });
});

describe("training", () => {
  const rigOf = (model = tinyLlama()): Rig => ({ model, base: randomBase(model), runtime: hostRuntime() });
  const fraction = 0.05;

  it.each([false, true])(
    "ends with exactly its budget, and with gates that cost nothing any more (structured: %s)",
    async (structured) => {
      const rig = rigOf();
      const adapter = adapt(rig.model, [diffprune({ fraction, structured, alpha: 0.5 })]);
      const { loaded } = await fit(rig, [{ adapter }], { steps: 8, batchSize: 4, lr: 1e-3 });
      const state = [...loaded[0]!.state];
      const masks = state.filter(([name]) => name.endsWith(".mask"));
      const total = masks.reduce((n, [, { shape }]) => n + sizeOf(shape), 0);
      const kept = masks.reduce((n, [, { values }]) => n + values.filter((v: number) => v === 1).length, 0);
      expect(kept).toBe(Math.round(fraction * total));
      for (const [name, { values }] of masks) {
        const diff = loaded[0]!.state.get(name.replace(/mask$/, "diff"))!.values;
        expect(diff.every((v, i) => values[i] === 1 || v === 0)).toBe(true);
      }
    },
  );

  it("leaves the mask as it is after the cut, whatever trains on", async () => {
    const rig = rigOf();
    const adapter = adapt(rig.model, [diffprune({ fraction, alpha: 0.5, cut: 0.25 })]);
    const masks = async (steps: number) =>
      (await fit(rig, [{ adapter }], { steps: 8, batchSize: 4, lr: 1e-3, saveEvery: steps })).checkpoints[0]!.adapter;
    const [early, late] = [await masks(3), await masks(7)];
    for (const [name, { values }] of early)
      if (name.endsWith(".mask")) expect([...late.get(name)!.values]).toEqual([...values]);
  });

  it("is saved as PEFT's SHiRA once it is cut, and comes back with its mask fixed", async () => {
    const rig = rigOf(tinyBert());
    const adapter = adapt(rig.model, [diffprune({ fraction, alpha: 0.5 })]);
    const { loaded } = await fit(rig, [{ adapter }], { steps: 6, batchSize: 4, lr: 1e-3 });
    const files = encodeAdapter(adapter, rig.model, loaded[0]!.state);
    expect(files.config).toMatchObject({ peft_type: "SHIRA", modules_to_save: ["classifier"] });
    const r = Number(files.config["r"]);
    for (const [name, { shape, whole }] of files.tensors)
      if (name.endsWith("shira_indices")) {
        expect(whole).toBe(true);
        const site = adapter.sites.find((s) => name.includes(`${s.site.path}.shira`))!.site;
        expect(shape).toEqual([2, r * (site.in + site.out)]);
      }
    const read = decodeAdapter(files, rig.model, [diffprune]);
    expect(read.adapter.methods[0]!.config).toMatchObject({ mask: "fixed" });
    for (const [name, { values }] of read.state)
      expect(Array.from(values, Math.fround)).toEqual(Array.from(loaded[0]!.state.get(name)!.values, Math.fround));
    expect(encodeAdapter(read.adapter, rig.model, read.state)).toEqual(files);
    const [[indices] = [""]] = files.tensors;
    const without = (name: string) => new Map([...files.tensors].filter(([n]) => n !== name));
    const readWith = (tensors: typeof files.tensors) => () =>
      decodeAdapter({ ...files, tensors }, rig.model, [diffprune]);
    expect(readWith(without(indices))).toThrow(/missing/);
    expect(readWith(without(indices.replace("indices", "weight")))).toThrow(/missing.*unexpected/s);
    const { shape, values } = files.tensors.get(indices)!;
    const beyond = { shape, values: values.map(() => 99), whole: true };
    expect(readWith(new Map([...files.tensors, [indices, beyond]]))).toThrow("names the place 99, 99");
    const merged = merge(rig.model, rig.base, [read]);
    const name = [...read.state.keys()].find((n) => n.endsWith(".diff"))!.replace(/\.diff$/, "");
    const [before, after] = [await rig.base.read(name), await merged.read(name)];
    const diff = read.state.get(`${name}.diff`)!.values;
    expect(Array.from(after)).toEqual(Array.from(before, (v, i) => Math.fround(v + diff[i]!)));
  });

  it("starts again from a saved adapter without moving what is cut off", async () => {
    const rig = rigOf();
    const adapter = adapt(rig.model, [diffprune({ mask: "fixed", target: ["attn.q"] })]);
    const start = await started(rig, adapter);
    for (const [name, { values }] of start.state) if (name.endsWith(".mask")) values.fill(0, 1);
    const { loaded } = await fit(rig, [start], { steps: 3 });
    for (const [name, { values }] of loaded[0]!.state)
      if (name.endsWith(".diff")) expect([...values].map((v) => v !== 0)).toEqual([...values].map((_, i) => i === 0));
  });
});
