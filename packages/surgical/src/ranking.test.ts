import { fit, type Rig, randomBase, started, tinyBert, tinyLlama } from "@graftml/conformance";
import { adapt, type Owned, type Pause } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { autoRgn, autoSnr, full } from "./index.ts";
import { ranked, type Ranking, relativeNorm, relativeToLargest, signalToNoise } from "./ranking.ts";

const rigOf = (model = tinyLlama()): Rig => ({ model, base: randomBase(model), runtime: hostRuntime() });

describe("the relative gradient norm", () => {
  it("is ‖g‖ / ‖θ‖", () => {
    expect(relativeNorm([3, 4], [6, 8], 1)).toBe(2);
    expect(relativeNorm([0, 0], [1, 0], 1)).toBe(Infinity);
  });

  it("becomes a rate by the largest, which is 1; what is still zero learns at the full rate", () => {
    expect(relativeToLargest([1, 4, 2])).toEqual([0.25, 1, 0.5]);
    expect(relativeToLargest([1, Infinity, 2])).toEqual([0.5, 1, 1]);
  });
});

describe("signal to noise", () => {
  it("is the mean of g² / var g over the first axis", () => {
    // Columns [1, 3] and [2, 2]: variances 2 and 0.
    const expected = ((1 + 9) / (2 + 1e-8) + (4 + 4) / 1e-8) / 4;
    expect(signalToNoise([], [1, 2, 3, 2], 2)).toBeCloseTo(expected, 2);
  });

  it("has no noise to divide by where there is one row", () => {
    expect(signalToNoise([], [1, 1], 1)).toBeCloseTo(1e8, 0);
  });
});

describe("ranking", () => {
  /** Parameters of given values, whose gradients are those of the batch being measured. */
  const pauseOf = (values: Readonly<Record<string, number[]>>, gradients: readonly (typeof values)[]): Pause => {
    let batch: typeof values = {};
    const owned = Object.keys(values).map(
      (name) =>
        ({
          name,
          trainable: true,
          shape: [values[name]!.length],
          site: { layer: Number(name[0]) },
        }) as unknown as Owned, // all that ranking reads
    );
    return {
      progress: { step: 0, steps: 8, perEpoch: 4 },
      owned,
      value: async ({ name }) => Float64Array.from(values[name]!),
      gradient: async ({ name }) => Float64Array.from(batch[name]!),
      async *measure(count) {
        for (const next of gradients.slice(0, count)) {
          batch = next;
          yield;
        }
      },
    };
  };
  const values = { "0a": [1, 0], "0b": [0, 2], "1a": [4] };
  const gradients = [
    { "0a": [1, 0], "0b": [0, 1], "1a": [8] },
    { "0a": [3, 0], "0b": [0, 1], "1a": [0] },
  ];
  const ratesOf = async (ranking: Partial<Ranking>) => {
    const between = ranked({ measure: relativeNorm, batches: 2, per: "tensor", rates: relativeToLargest, ...ranking });
    const { lrScale, restart } = await between.act(pauseOf(values, gradients));
    expect(restart).toBe(true);
    return Object.fromEntries([...(lrScale ?? [])].map(([{ name }, rate]) => [name, rate]));
  };

  it("gives every tensor a rate of its own from the mean over micro-batches", async () => {
    expect(await ratesOf({})).toEqual({ "0a": 1, "0b": 0.25, "1a": 0.5 }); // 2, ½ and 1
  });

  it("gives a block one rate from all of its tensors", async () => {
    const block = (Math.sqrt(2) + Math.sqrt(10)) / 2 / Math.sqrt(5);
    const rates = await ratesOf({ per: "layer" });
    expect(rates["0a"]).toBe(1);
    expect(rates["0b"]).toBe(1);
    expect(rates["1a"]).toBeCloseTo(1 / block, 12);
  });

  it("is due at the start of every epoch, and not after the last step", () => {
    const { due } = ranked({ measure: relativeNorm, batches: 1, per: "tensor", rates: relativeToLargest });
    const at = (step: number) => due({ step, steps: 8, perEpoch: 4 });
    expect([0, 1, 3, 4, 5, 8].map(at)).toEqual([true, false, false, true, false, false]);
  });
});

describe("training", () => {
  it("moves what has the largest relative gradient norm as far as full fine-tuning would, and all else less", async () => {
    const rig = rigOf(tinyBert());
    const options = { steps: 1, batchSize: 4, lr: 0.01 };
    const end = async (method: ReturnType<typeof full>) => {
      const adapter = adapt(rig.model, [method]);
      const start = await started(rig, adapter);
      const { loaded } = await fit(rig, [start], options);
      return new Map(
        [...start.state].map(([name, { values: before }]) => {
          const after = loaded[0]!.state.get(name)!.values;
          return [name, Math.hypot(...Array.from(after, (v, i) => v - before[i]!))];
        }),
      );
    };
    const [auto, whole] = [await end(autoRgn({ batches: 1 })), await end(full())];
    const ratios = [...auto].map(([name, moved]) => moved / whole.get(name)!);
    expect(Math.max(...ratios)).toBeCloseTo(1, 5);
    expect(Math.min(...ratios)).toBeLessThan(0.5);
  });

  it("freezes what is mostly noise", async () => {
    const rig = rigOf();
    const adapter = adapt(rig.model, [autoSnr({ threshold: 1e30 })]);
    const start = await started(rig, adapter);
    const { loaded } = await fit(rig, [start], { steps: 3 });
    expect([...loaded[0]!.state.values()].map((v) => [...v.values])).toEqual(
      [...start.state.values()].map((v) => [...v.values]),
    );
  });
});
