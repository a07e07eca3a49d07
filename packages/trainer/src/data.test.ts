import { describe, expect, it } from "vitest";
import { dealer, permutation, positionAfter, stepsIn } from "./data.ts";

const flat = (steps: number, deal: ReturnType<typeof dealer>): number[] =>
  Array.from({ length: steps }, (_, done) => deal(done)).flat(2);

describe("the order of rows", () => {
  it("is a permutation", () => {
    expect([...permutation(101, 3, 0)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 101 }, (_, i) => i));
  });

  it("depends on seed and epoch, and on nothing else", () => {
    expect(permutation(50, 3, 1)).toEqual(permutation(50, 3, 1));
    expect(permutation(50, 3, 1)).not.toEqual(permutation(50, 3, 2));
    expect(permutation(50, 4, 1)).not.toEqual(permutation(50, 3, 1));
  });

  it("puts every row in every place equally often", () => {
    const seen = new Array<number>(5).fill(0);
    for (let epoch = 0; epoch < 2000; epoch++) seen[permutation(5, 9, epoch)[0]!]!++;
    for (const count of seen) expect(Math.abs(count - 400)).toBeLessThan(80); // 4.5 standard deviations
  });

  it("is that of the file, epoch after epoch, without shuffling", () => {
    const deal = dealer({ rows: 5, batchSize: 2, accumulate: 1, seed: 0, shuffle: false });
    expect(flat(6, deal)).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
  });
});

describe("dealing rows out", () => {
  it("gives every row once an epoch and ends the epoch with a short step", () => {
    const dealing = { rows: 11, batchSize: 2, accumulate: 2, seed: 7, shuffle: true };
    const deal = dealer(dealing);
    expect(stepsIn(dealing)).toBe(3);
    expect([0, 1, 2].map((done) => deal(done).map((b) => b.length))).toEqual([
      [2, 2],
      [2, 2],
      [2, 1],
    ]);
    expect(flat(3, deal).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 11 }, (_, i) => i));
    expect(deal(3)).not.toEqual(deal(0));
  });

  it("gives the same rows whichever step is asked for first", () => {
    const dealing = { rows: 11, batchSize: 3, accumulate: 1, seed: 7, shuffle: true };
    const straight = dealer(dealing);
    const wanted = [0, 1, 2, 3, 4, 5].map(straight);
    expect(dealer(dealing)(5)).toEqual(wanted[5]);
  });

  it("says a place by epoch and row", () => {
    const dealing = { rows: 11, batchSize: 2, accumulate: 2 };
    expect([0, 1, 3, 5].map((done) => positionAfter(done, dealing))).toEqual([
      { epoch: 0, index: 0 },
      { epoch: 0, index: 4 },
      { epoch: 1, index: 0 },
      { epoch: 1, index: 8 },
    ]);
  });
});
