/** @file Properties of mixed batches, in which every row has an adapter of its own, or none. */
import { adapt, AdaptError } from "@graftml/peft";
import { expect } from "vitest";
import { distance, type Property, type Subject } from "./property.ts";
import { type Attached, logits, mixedLogits, type Rig, rowOf, shaken, started } from "./rig.ts";

/** Expects each row to be as if the whole batch had its adapter. */
async function expectRows(rig: Rig, attached: readonly Attached[], rows: readonly number[], tolerance: number) {
  const together = await mixedLogits(rig, attached, rows);
  for (const [row, stack] of rows.entries()) {
    const one = attached[stack - 1];
    const alone = await logits(rig, one === undefined ? [] : [one]);
    expect(distance(rowOf(alone, row), rowOf(together, row)), `row ${row}`).toBeLessThan(tolerance);
  }
}

/** With itself under other values, and with rows that have none. */
export const mixing: Property = {
  says: "gives each row of a mixed batch what it gives alone",
  check: async ({ rig, adapted, adapter, tolerance }) => {
    const first = shaken(await started(rig, adapter));
    const second = shaken(await started(rig, adapt(rig.model, [adapted], { id: "second" })), 2);
    await expectRows(rig, [first, second], [2, 1], tolerance.logits);
    await expectRows(rig, [first, second], [0, 2], tolerance.logits);
  },
  unless: {
    declared: "mix",
    says: "cannot share a batch, and says so",
    check: async ({ rig, adapted, adapter }) => {
      const first = shaken(await started(rig, adapter));
      const second = shaken(await started(rig, adapt(rig.model, [adapted], { id: "second" })));
      await expect(mixedLogits(rig, [first, second], [1, 2])).rejects.toThrow(AdaptError);
    },
  },
};

/** With a companion. */
export const mixingWith = (companion: Subject["companions"][number]): Property => ({
  says: `shares a batch with ${companion.name}`,
  check: async ({ rig, adapter, tolerance }) => {
    const first = shaken(await started(rig, adapter));
    const second = shaken(await started(rig, adapt(rig.model, [companion], { id: "second" })));
    await expectRows(rig, [first, second], [1, 2], tolerance.logits);
  },
});
