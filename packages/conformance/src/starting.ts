/** @file Properties of a fresh adapter. */

import { expect } from "vitest";
import { randomBase } from "./base.ts";
import { distance, type Property } from "./property.ts";
import { logits, shaken, started } from "./rig.ts";

/** How an adapter starts, and what its values then do. */
export const starting: readonly Property[] = [
  {
    says: "starts as the base, to the bit",
    check: async ({ rig, adapter }) => {
      expect(await logits(rig, [{ adapter }])).toEqual(await logits(rig));
    },
    unless: {
      declared: "identity",
      says: "does not start as the base",
      check: async ({ rig, adapter }) => {
        expect(await logits(rig, [{ adapter }])).not.toEqual(await logits(rig));
      },
    },
  },
  {
    says: "changes what the model says once its values are others",
    check: async ({ rig, adapter }) => {
      const other = shaken(await started(rig, adapter));
      expect(distance(await logits(rig), await logits(rig, [other]))).toBeGreaterThan(1e-3);
    },
  },
  {
    says: "starts from the same bits for the same seed and from others for another",
    check: async ({ rig, adapter }) => {
      const { state } = await started(rig, adapter, 7);
      expect((await started(rig, adapter, 7)).state).toEqual(state);
      expect((await started(rig, adapter, 8)).state).not.toEqual(state);
    },
    unless: {
      declared: "seed",
      says: "starts from the same bits for every seed",
      check: async ({ rig, adapter }) => {
        expect((await started(rig, adapter, 7)).state).toEqual((await started(rig, adapter, 8)).state);
      },
    },
  },
  {
    says: "says the same twice outside of training, where there is no noise to draw",
    check: async ({ rig, adapter }) => {
      const other = shaken(await started(rig, adapter));
      expect(await logits(rig, [other])).toEqual(await logits(rig, [other]));
    },
  },
  {
    says: "adapts weights in half precision like the same numbers in single precision",
    check: async ({ rig, adapter, tolerance }) => {
      const halves = { ...rig, base: randomBase(rig.model, { halves: true }) };
      const start = await started(rig, adapter);
      expect((await started(halves, adapter)).state).toEqual(start.state);
      const other = shaken(start);
      expect(distance(await logits(rig, [other]), await logits(halves, [other]))).toBeLessThan(tolerance.logits);
    },
  },
];
