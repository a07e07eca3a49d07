import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { waitFor } from "../src/runtime/patience.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

/** Waits for a result that comes after so many ms on a clock of its own, and returns the naps taken until it was noticed. */
async function naps(ms: number, fail = false): Promise<number[]> {
  const taken: number[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const nap = async (wanted: number): Promise<void> => {
    taken.push(wanted);
    vi.advanceTimersByTime(wanted + 0.01); // a turn of the event loop takes time too
    if (performance.now() >= ms) resolve(fail ? Promise.reject(new Error("lost")) : "there");
    await new Promise(setImmediate);
  };
  await expect(waitFor(promise, nap)).resolves.toBe("there");
  return taken;
}

describe("waiting for a device", () => {
  it("looks often at first, so that short runs are noticed at once", async () => {
    const begin = performance.now();
    await naps(begin + 1);
    expect(performance.now() - begin).toBeLessThan(1.05);
  });

  it("looks ever less often, but notices a long run within a fiftieth of its time and 5 ms", async () => {
    const begin = performance.now();
    const taken = await naps(begin + 1000);
    expect(performance.now() - begin).toBeLessThan(1006);
    expect(Math.max(...taken)).toBe(5);
    expect(taken.length).toBeLessThan(500);
  });

  it("throws what the result throws", async () => {
    await expect(naps(performance.now() + 10, true)).rejects.toThrow("lost");
  });

  it("takes no naps where waiting costs nothing", async () => {
    await expect(waitFor(Promise.resolve(7), null)).resolves.toBe(7);
  });
});
