/** @file Properties of training. */
import { nameWithin } from "@graftml/peft";
import { sgd } from "@graftml/trainer";
import { expect } from "vitest";
import { distance, type Property, type Subject } from "./property.ts";
import { fit, gradients, logits, shaken, started } from "./rig.ts";
import { expectSlopes } from "./slopes.ts";

/** What training changes, and how surely it does so again. */
export const training: readonly Property[] = [
  {
    says: "has a gradient for all that it trains, equal to what finite differences give",
    check: async ({ rig, adapter, tolerance }) => {
      const loaded = shaken(await started(rig, adapter));
      await expectSlopes(rig, [loaded], tolerance);
    },
    unless: {
      declared: "slopes",
      says: "has a gradient for all that it trains, which leaves out what it holds constant on the way back",
      check: async ({ rig, adapter, tolerance }) => {
        const loaded = shaken(await started(rig, adapter));
        for (const [name, gradient] of (await gradients(rig, [loaded])).of)
          expect(Math.hypot(...(gradient ?? [])), name).toBeGreaterThan(0);
        await expect(expectSlopes(rig, [loaded], tolerance)).rejects.toThrow();
      },
    },
  },
  {
    says: "changes all that it trains in three steps, and no bit of the base or of what it keeps frozen",
    check: async ({ rig, adapter }) => {
      const before = await started(rig, adapter);
      const { loaded, changedBase } = await fit(rig, [before], { steps: 3 });
      expect(changedBase).toEqual([]);
      for (const { name, trainable, persist } of adapter.owned) {
        const between = adapter.methods.some((m) => m.between !== undefined); // may set what is frozen, too
        if (persist !== true || (!trainable && between)) continue;
        const key = nameWithin(adapter, name);
        const same = loaded[0]?.state.get(key)?.values.every((v, i) => v === before.state.get(key)?.values[i]);
        expect(same, name).toBe(!trainable);
      }
    },
  },
  {
    says: "learns four rows",
    check: async ({ rig, adapter, lr }) => {
      const { losses } = await fit(rig, [{ adapter }], { steps: 16, batchSize: 4, lr });
      expect(losses.at(-1)).toBeLessThan(0.97 * (losses[0] ?? NaN)); // methods of a few numbers learn little
    },
  },
  {
    says: "gives the same bits when blocks are recomputed on the way back",
    check: async ({ rig, adapter }) => {
      const loaded = shaken(await started(rig, adapter));
      expect(await gradients(rig, [loaded], { recompute: true })).toEqual(await gradients(rig, [loaded]));
    },
  },
  {
    says: "gives the same bits for the same seed",
    check: async ({ rig, adapter }) => {
      const once = await fit(rig, [{ adapter }], { steps: 2, seed: 5 });
      expect(await fit(rig, [{ adapter }], { steps: 2, seed: 5 })).toEqual(once);
    },
  },
  {
    says: "resumes to the bits of a run that was not interrupted",
    check: async ({ rig, adapter }) => {
      const whole = await fit(rig, [{ adapter }], { steps: 5, saveEvery: 3 });
      const [saved] = whole.checkpoints;
      expect(saved?.step).toBe(3);
      if (saved === undefined) return;
      const resumed = await fit(rig, [{ adapter, seed: 1 }], { steps: 5, resume: saved });
      expect(resumed.losses).toEqual(whole.losses.slice(3));
      expect(resumed.loaded.map((l) => l.state)).toEqual(whole.loaded.map((l) => l.state));
    },
  },
  {
    says: "holds no more memory from one step to the next, and gives all of it back",
    check: async ({ rig, adapter }) => {
      await fit(rig, [{ adapter }], { steps: 1 }); // whatever a runtime keeps for itself is there from now on
      const before = rig.runtime.allocated();
      const { allocated } = await fit(rig, [{ adapter }], { steps: 5 });
      expect(new Set(allocated.slice(1, 5)).size).toBe(1); // work between steps begins after the first
      expect(rig.runtime.allocated()).toEqual(before);
    },
  },
  {
    says: "leaves the base as it was when it is detached",
    check: async ({ rig, adapter }) => {
      const before = await logits(rig);
      const { loaded } = await fit(rig, [{ adapter }], { steps: 2 });
      expect(await logits(rig, loaded)).not.toEqual(before);
      expect(await logits(rig)).toEqual(before);
    },
  },
];

/** How far four micro-batches of one row lie from one of four rows: of losses, and of what is trained. */
async function accumulated({ rig, adapter }: Subject): Promise<readonly number[]> {
  const start = shaken(await started(rig, adapter));
  const steps = { steps: 2, shuffle: false, optimizer: sgd(), lr: 0.1 };
  const whole = await fit(rig, [start], { ...steps, batchSize: 4 });
  const parts = await fit(rig, [start], { ...steps, batchSize: 1, accumulate: 4 });
  const of = (name: string) => parts.loaded[0]?.state.get(name)?.values ?? [];
  const state = [...(whole.loaded[0]?.state ?? [])];
  return [distance(whole.losses, parts.losses), ...state.map(([name, { values }]) => distance(values, of(name)))];
}

/** For methods that draw no noise, on models that draw none. */
export const accumulating: Property = {
  says: "weighs micro-batches by their labels: four of one row are one of four rows",
  check: async (subject) => {
    expect(Math.max(...(await accumulated(subject)))).toBeLessThan(subject.tolerance.logits);
  },
  unless: {
    declared: "accumulate",
    says: "depends on where micro-batches end",
    check: async (subject) => {
      expect(Math.max(...(await accumulated(subject)))).toBeGreaterThan(subject.tolerance.logits);
    },
  },
};

/** For all others. */
export const noisy: Property = {
  says: "draws other noise at every step",
  check: async ({ rig, adapter }) => {
    const loaded = shaken(await started(rig, adapter));
    const { loss } = await gradients(rig, [loaded]);
    expect((await gradients(rig, [loaded], { step: 2 })).loss).not.toBe(loss);
    expect((await gradients(rig, [loaded])).loss).toBe(loss);
  },
};
