import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Patience } from "../src/runtime/patience.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** Waits for runs that take the given times, on a clock of its own, and returns how long each was slept through. */
async function slept(times: readonly number[]): Promise<number[]> {
  const patience = new Patience();
  const naps: number[] = [];
  for (const ms of times) {
    const begin = performance.now();
    let nap = 0;
    const sleep = async (wanted: number): Promise<void> => void vi.advanceTimersByTime((nap = wanted));
    const settle = async (): Promise<void> =>
      void vi.advanceTimersByTime(Math.max(0, ms - (performance.now() - begin)));
    await patience.wait(sleep, settle);
    naps.push(nap);
  }
  return naps;
}

describe("patience", () => {
  it("sleeps through most of what the last runs took", async () => {
    expect(await slept([100, 100, 100, 100])).toEqual([0, 0, 90, 90]);
  });

  it("is not misled by a first run that compiles", async () => {
    expect((await slept([5000, 50, 50, 50])).every((ms) => ms <= 45)).toBe(true);
  });

  it("does not sleep through short runs", async () => {
    expect(await slept([3, 3, 3])).toEqual([0, 0, 0]);
  });

  it("recovers from runs that were slow for a while", async () => {
    const naps = await slept([200, 200, 200, ...Array.from({ length: 8 }, () => 20)]);
    expect(naps.at(-1)).toBeLessThanOrEqual(20);
  });

  it("only waits where waiting costs nothing", async () => {
    const patience = new Patience();
    const settle = vi.fn(async () => void vi.advanceTimersByTime(100));
    for (let i = 0; i < 4; i++) await patience.wait(null, settle);
    expect(performance.now()).toBe(400);
  });
});
