import { rngOf } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { type Matrix, matrix, orthonormalRows, singular, times, timesTransposed, transposed } from "./matrix.ts";

const random = (rows: number, columns: number, seed = 1): Matrix =>
  matrix(rows, columns, new Float64Array(rows * columns).map(rngOf(seed, "matrix").normal));
const apart = (a: Matrix, b: Matrix): number => Math.max(...a.values.map((x, i) => Math.abs(x - b.values[i]!)));
const identity = (n: number): Matrix =>
  matrix(
    n,
    n,
    Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
  );
const draw = rngOf(0, "start").normal;

describe("orthonormal rows", () => {
  it("are orthonormal, and each lies in the span of the rows up to its own", () => {
    const a = random(4, 9);
    const q = orthonormalRows(a);
    expect(apart(timesTransposed(q, q), identity(4))).toBeLessThan(1e-14);
    const r = timesTransposed(a, q); // A = R Q with R lower triangular
    for (let i = 0; i < 4; i++)
      for (let j = i + 1; j < 4; j++) expect(Math.abs(r.values[i * 4 + j]!)).toBeLessThan(1e-14);
  });

  it("are zero where there is nothing new to span", () => {
    const [x, y] = [random(1, 5, 1).values, random(1, 5, 2).values];
    const q = orthonormalRows(matrix(3, 5, Float64Array.of(...x, ...x, ...y)));
    expect([...q.values.subarray(5, 10)]).toEqual([0, 0, 0, 0, 0]);
    expect(Math.hypot(...q.values.subarray(10))).toBeCloseTo(1, 14);
  });
});

describe("singular values", () => {
  it.each([
    [6, 4, 4],
    [4, 6, 2],
    [30, 50, 3],
    [1, 3, 1],
  ])("of a %d×%d matrix are the lengths that its vectors are stretched to", (rows, columns, rank) => {
    const a = random(rows, columns);
    const { u, s, v } = singular(a, rank, draw);
    expect(s).toHaveLength(rank);
    expect([...s].sort((x, y) => y - x)).toEqual([...s]);
    const stretched = timesTransposed(v, a); // rows A vᵢ = sᵢ uᵢ
    const wanted = matrix(
      rank,
      rows,
      u.values.map((x, i) => x * s[Math.floor(i / rows)]!),
    );
    expect(apart(stretched, wanted)).toBeLessThan(1e-5 * s[0]!); // as far as 24 turns tell them apart
    expect(apart(timesTransposed(u, u), identity(rank))).toBeLessThan(1e-9);
    expect(apart(timesTransposed(v, v), identity(rank))).toBeLessThan(1e-9);
  });

  it("make up a matrix of low rank again", () => {
    const a = times(random(40, 3, 1), random(3, 60, 2));
    const { u, s, v } = singular(a, 5, draw);
    expect(s[3]! / s[0]!).toBeLessThan(1e-12);
    const scaled = matrix(
      5,
      60,
      v.values.map((x, i) => x * s[Math.floor(i / 60)]!),
    );
    expect(apart(times(transposed(u), scaled), a)).toBeLessThan(1e-12 * s[0]!);
  });
});
