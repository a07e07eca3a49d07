/** @file Gradients against finite differences. */
import { rngOf } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { expect } from "vitest";
import type { Tolerance } from "./property.ts";
import { type Attached, gradients, inputsOf, lossOf, type Rig, trained, withStore } from "./rig.ts";

/** The slope of the loss along a direction in one parameter's space. */
interface Slope {
  readonly direction: Float64Array;
  readonly slope: number;
}

/** Slopes along a random direction for each trainable parameter, by central differences in the f64 interpreter. */
const slopes = ({ model, base }: Rig, attached: readonly Attached[]): Promise<ReadonlyMap<string, Slope>> => {
  const rig: Rig = { model, base, runtime: hostRuntime() };
  return withStore(rig, attached, async (store) => {
    const program = await rig.runtime.compile(store, (trace) => ({ loss: lossOf(rig, trace, attached, {}) }));
    const inputs = inputsOf(rig, attached);
    const found = new Map<string, Slope>();
    for (const { name } of trained(attached)) {
      const rng = rngOf(2, name);
      const at = Float64Array.from(await store.read(name));
      const direction = at.map(() => rng.normal());
      const lossAt = async (distance: number): Promise<number> => {
        await store.write(
          name,
          at.map((v, i) => v + distance * (direction[i] ?? 0)),
        );
        return (await program.run(inputs))["loss"]?.[0] ?? NaN;
      };
      const slope = ((await lossAt(STEP)) - (await lossAt(-STEP))) / (2 * STEP);
      await store.write(name, at);
      found.set(name, { direction, slope });
    }
    return found;
  });
};

/** Far enough for f64 to tell the losses apart, near enough for the cubic term to vanish. */
const STEP = 1e-5;

/** Expects every trainable parameter to have a gradient, and the one that the slopes of the loss tell. */
export async function expectSlopes(rig: Rig, attached: readonly Attached[], tolerance: Tolerance): Promise<void> {
  const { of } = await gradients(rig, attached);
  const expected = await slopes(rig, attached);
  expect(expected.size).toBeGreaterThan(0);
  const lengthOf = (name: string): number => Math.hypot(...Float64Array.from(of.get(name) ?? []));
  const whole = Math.hypot(...Array.from(expected.keys(), lengthOf));
  for (const [name, { direction, slope }] of expected) {
    const gradient = Float64Array.from(of.get(name) ?? []);
    const length = lengthOf(name);
    expect(length, `the gradient of ${name} is none, zero or no number`).toBeGreaterThan(0);
    const along = gradient.reduce((sum, g, i) => sum + g * (direction[i] ?? NaN), 0);
    // Some gradients are zero but for rounding: the softmax does not feel the bias of keys.
    expect(Math.abs(along - slope) / Math.max(length, 1e-4 * whole), name).toBeLessThan(tolerance.gradients);
  }
}
