import { describe, expect, it } from "vitest";
import { aligned, type Life, pack, peak } from "../src/runtime/plan.ts";

const firstOf = ({ reads, writes }: Life): number => Math.min(...reads, ...writes);
const lastOf = ({ reads, writes }: Life): number => Math.max(...reads, ...writes);

/** A value written by one dispatch and read by another, or by several. */
const life = (bytes: number, write: number, ...reads: number[]): Life => ({ bytes, writes: [write], reads });

/** Random lives, the same ones for the same seed. */
function lives(count: number, seed: number): Life[] {
  let s = seed;
  const next = (n: number): number => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
  return Array.from({ length: count }, () => {
    const first = next(count);
    const reads = Array.from({ length: 1 + next(3) }, () => first + 1 + next(12)).sort((a, b) => a - b);
    return life(16 * (1 + next(256)), first, ...reads);
  });
}

/** All pairs of values that lie in one slot. */
function neighbours(values: readonly Life[]): { a: Life; b: Life; overlap: boolean }[] {
  const { places } = pack(values);
  return values.flatMap((a, i) =>
    values.slice(i + 1).flatMap((b, k) => {
      const [x, y] = [places[i]!, places[i + 1 + k]!];
      const overlap = x.offset < y.offset + b.bytes && y.offset < x.offset + a.bytes;
      return x.slot === y.slot ? [{ a, b, overlap }] : [];
    }),
  );
}

const total = (values: readonly Life[]): number => pack(values).sizes.reduce((a, b) => a + b, 0);

describe("pack", () => {
  it.each([1, 2, 3, 4, 5])("never gives two values that live at once the same bytes (seed %i)", (seed) => {
    const shared = neighbours(lives(200, seed)).filter((pair) => pair.overlap);
    expect(shared.length).toBeGreaterThan(0);
    for (const { a, b } of shared) expect(lastOf(a) < firstOf(b) || lastOf(b) < firstOf(a)).toBe(true);
  });

  it.each([1, 2, 3, 4, 5])("never lets one dispatch read and write one slot (seed %i)", (seed) => {
    for (const { a, b } of neighbours(lives(200, seed))) {
      expect(a.writes.filter((at) => b.reads.includes(at))).toEqual([]);
      expect(b.writes.filter((at) => a.reads.includes(at))).toEqual([]);
    }
  });

  it.each([1, 2, 3])("keeps every value inside its slot, at an offset that may be bound (seed %i)", (seed) => {
    const values = lives(200, seed);
    const { sizes, places } = pack(values);
    places.forEach(({ slot, offset }, i) => {
      expect(offset + values[i]!.bytes).toBeLessThanOrEqual(sizes[slot]!);
      expect(offset % 256).toBe(0);
    });
    expect([...sizes].sort((a, b) => b - a)).toEqual(sizes);
  });

  it("runs a chain of equal values in two slots", () => {
    const chain = Array.from({ length: 50 }, (_, i) => life(1024, i, i + 1));
    expect(pack(chain).sizes).toEqual([1024, 1024]);
  });

  it("puts small values side by side where a large one was", () => {
    const values = [life(1024, 0, 1), life(512, 4, 9), life(512, 6, 9)];
    expect(pack(values)).toEqual({
      sizes: [1024],
      places: [
        { slot: 0, offset: 0 },
        { slot: 0, offset: 0 },
        { slot: 0, offset: 512 },
      ],
    });
  });

  it("needs little more than what is alive at once, where a step keeps values for its backward pass", () => {
    const layers = 24;
    const end = 6 * layers;
    const values = Array.from({ length: layers }, (_, i) => [
      life(4096, 3 * i, 3 * i + 1, end - 3 * i),
      life(16384, 3 * i + 1, 3 * i + 2),
      life(1024, 3 * i + 2, 3 * i + 3, end - 3 * i - 1),
      life(8192, end - 3 * i - 1, end - 3 * i),
    ]).flat();
    expect(total(values)).toBeLessThanOrEqual(1.1 * peak(values));
  });
});

describe("peak", () => {
  it("is the most that is alive at one dispatch", () => {
    expect(peak([life(10, 0, 2), life(20, 2, 3), life(25, 3, 4)])).toBe(45);
  });

  it("is never more than what packing needs", () => {
    const values = lives(300, 9).map((v) => ({ ...v, bytes: aligned(v.bytes) }));
    expect(total(values)).toBeGreaterThanOrEqual(peak(values));
  });
});
