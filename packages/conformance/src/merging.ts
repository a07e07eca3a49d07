/** @file Properties of merging. */
import { adapt, type Loaded, merge, NotMergeable } from "@graftml/peft";
import { expect } from "vitest";
import { randomBase } from "./base.ts";
import { tinyLlama } from "./models.ts";
import { distance, type Property, type Subject } from "./property.ts";
import { logits, type Rig, shaken, started } from "./rig.ts";

const shakenOf = async ({ rig, adapter }: Subject): Promise<Loaded> => shaken(await started(rig, adapter));

/** Logits of the base with adapters folded in. */
const mergedLogits = (rig: Rig, loaded: readonly Loaded[]) =>
  logits({ ...rig, base: merge(rig.model, rig.base, loaded) });

/** Whether it folds into weights or not. */
export const mergeable: Property = {
  says: "says the same merged as attached, and leaves the base as it is",
  check: async (subject) => {
    const { rig, tolerance } = subject;
    const loaded = await shakenOf(subject);
    const before = await logits(rig);
    expect(distance(await logits(rig, [loaded]), await mergedLogits(rig, [loaded]))).toBeLessThan(tolerance.logits);
    expect(await logits(rig)).toEqual(before);
  },
  unless: {
    declared: "merge",
    says: "cannot be merged, and says so",
    check: async (subject) => {
      const loaded = await shakenOf(subject);
      expect(() => merge(subject.rig.model, subject.rig.base, [loaded])).toThrow(NotMergeable);
    },
  },
};

/** For methods that fold into weights. */
export const merging: readonly Property[] = [
  {
    says: "is not merged when a value is no number, and names the tensor",
    check: async (subject) => {
      const { rig } = subject;
      const loaded = await shakenOf(subject);
      const [[name, { values }] = ["", { values: new Float32Array() }]] = loaded.state;
      values[0] = NaN;
      expect(() => merge(rig.model, rig.base, [loaded])).toThrow(name);
    },
  },
  {
    says: "never folds into a weight that serves two places: it refuses, or both places agree",
    check: async ({ rig, adapted, method, tolerance }) => {
      const model = tinyLlama({ tied: true });
      const tied: Rig = { model, base: randomBase(model), runtime: rig.runtime };
      const targeted = "target" in method.method.config.shape;
      const configured = targeted ? method({ target: ["unembed"] } as never) : adapted;
      const loaded = shaken(await started(tied, adapt(model, [configured])));
      const attached = await logits(tied, [loaded]);
      try {
        expect(distance(attached, await mergedLogits(tied, [loaded]))).toBeLessThan(tolerance.logits);
      } catch (error) {
        if (!NotMergeable.is(error)) throw error;
        // Without a target a method may have another reason there: what it adds has no place in the files.
        if (targeted)
          expect(error.message).toContain("its weight model.embed_tokens.weight also serves model.embed_tokens");
      }
    },
  },
];

/** With a companion that can be merged too. */
export const mergingWith = (companion: Subject["companions"][number]): Property => ({
  says: `merges with ${companion.name} one by one as both together`,
  check: async (subject) => {
    const { rig, tolerance } = subject;
    const first = await shakenOf(subject);
    const second = shaken(await started(rig, adapt(rig.model, [companion], { id: "other", below: [first.adapter] })));
    const together = await mergedLogits(rig, [first, second]);
    expect(distance(together, await logits(rig, [first, second]))).toBeLessThan(tolerance.logits);
    const base = merge(rig.model, rig.base, [first]);
    expect(distance(together, await mergedLogits({ ...rig, base }, [second]))).toBeLessThan(tolerance.logits);
  },
});
