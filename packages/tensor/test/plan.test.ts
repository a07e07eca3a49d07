import { describe, expect, it } from "vitest";
import { type Interval, pack, peak } from "../src/runtime/plan.ts";

/** Random lives, the same ones for the same seed. */
function lives(count: number, seed: number): Interval[] {
  let s = seed;
  const next = (n: number): number => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
  return Array.from({ length: count }, () => {
    const first = next(count);
    return { bytes: 16 * (1 + next(64)), first, last: first + next(12) };
  });
}

describe("pack", () => {
  it.each([1, 2, 3, 4, 5])("never puts two values into one slot that one dispatch touches (seed %i)", (seed) => {
    const values = lives(200, seed);
    const { slotOf } = pack(values);
    values.forEach((a, i) =>
      values.forEach((b, j) => {
        if (i < j && slotOf[i] === slotOf[j]) expect(a.last < b.first || b.last < a.first).toBe(true);
      }),
    );
  });

  it.each([1, 2, 3])(
    "gives every value a slot that holds it, and no slot more than its largest value (seed %i)",
    (seed) => {
      const values = lives(200, seed);
      const { sizes, slotOf } = pack(values);
      sizes.forEach((bytes, slot) =>
        expect(bytes).toBe(Math.max(...values.filter((_, i) => slotOf[i] === slot).map((v) => v.bytes))),
      );
      expect([...sizes].sort((a, b) => b - a)).toEqual(sizes);
    },
  );

  it("keeps the input and the output of a dispatch apart", () => {
    const { slotOf } = pack([
      { bytes: 64, first: 0, last: 1 },
      { bytes: 64, first: 1, last: 2 },
    ]);
    expect(slotOf[0]).not.toBe(slotOf[1]);
  });

  it("runs a chain of equal values in two slots", () => {
    const chain = Array.from({ length: 50 }, (_, i) => ({ bytes: 1024, first: i, last: i + 1 }));
    expect(pack(chain).sizes).toEqual([1024, 1024]);
  });

  it("puts a value into the smallest slot that is free", () => {
    const { sizes, slotOf } = pack([
      { bytes: 1000, first: 0, last: 1 },
      { bytes: 100, first: 0, last: 1 },
      { bytes: 90, first: 5, last: 6 },
    ]);
    expect(sizes).toEqual([1000, 100]);
    expect(slotOf[2]).toBe(slotOf[1]);
  });

  it("reaches the peak where sizes repeat, as the layers of a model do", () => {
    // Forward: each layer keeps one value for the backward pass and passes two on.
    const layers = 24;
    const values = Array.from({ length: layers }, (_, i) => [
      { bytes: 4096, first: 3 * i, last: 6 * layers - 3 * i },
      { bytes: 16384, first: 3 * i, last: 3 * i + 1 },
      { bytes: 1024, first: 3 * i + 1, last: 3 * i + 3 },
    ]).flat();
    const total = pack(values).sizes.reduce((a, b) => a + b, 0);
    expect(total).toBeLessThanOrEqual(1.05 * peak(values));
  });
});

describe("peak", () => {
  it("is the most that is alive at one dispatch", () => {
    expect(
      peak([
        { bytes: 10, first: 0, last: 2 },
        { bytes: 20, first: 2, last: 3 },
        { bytes: 25, first: 3, last: 4 },
      ]),
    ).toBe(45);
  });

  it("is never more than what packing needs", () => {
    const values = lives(300, 9);
    expect(pack(values).sizes.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(peak(values));
  });
});
