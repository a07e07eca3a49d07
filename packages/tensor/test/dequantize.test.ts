/** @file Decoding of codes on the interpreter, and products that take it over. */
import { describe, expect, it } from "vitest";
import type { Encoding } from "../src/encoding.ts";
import { add, dequantize, fill, matmul, reshape, run, type Tensor, Trace } from "../src/index.ts";
import { fuse } from "../src/trace/fuse.ts";
import { reachable } from "../src/trace/graph.ts";

const table = Array.from({ length: 16 }, (_, i) => i - 8);
const encoding: Encoding = { name: "steps", table, block: 4, nested: null };

const matrix = (trace: Trace): Tensor =>
  dequantize(
    { codes: trace.input("codes", [1], "u32"), scales: trace.input("scales", [2]) },
    { shape: [2, 4], encoding },
  );
const stepsOf = (output: Tensor): string[] => fuse(reachable([output]), [output]).map((s) => s.op.name);

describe("dequantize", () => {
  it("reads the first of two codes from the high half of a byte, and scales by blocks", async () => {
    const { y } = await run(
      ({ codes, scales }) => ({ y: dequantize({ codes, scales }, { shape: [2, 4], encoding }) }),
      {
        codes: { shape: [1], dtype: "u32", values: [0xefcdab89] },
        scales: { shape: [2], values: [1, 0.5] },
      },
    );
    expect([...y!]).toEqual([0, 1, 2, 3, 2, 2.5, 3, 3.5]);
  });

  it("reads integers of eight bits as 127ths in two's complement, with a scale a row", async () => {
    const { y } = await run(
      ({ codes, scales }) => ({
        y: dequantize(
          { codes, scales },
          { shape: [2, 2], encoding: { name: "bytes", table: null, block: null, nested: null } },
        ),
      }),
      { codes: { shape: [1], dtype: "u32", values: [0x8001ff7f] }, scales: { shape: [2], values: [1, 2] } },
    );
    expect([...y!]).toEqual([127, -1, 2, -256].map((x) => Math.fround(x * Math.fround(1 / 127))));
  });

  it("adds what nested scales have in common", async () => {
    const bytes = { table: Array.from({ length: 256 }, (_, i) => i / 4), block: 1 };
    const { y } = await run(
      ({ codes, scales, nested }) => ({
        y: dequantize({ codes, scales, nested }, { shape: [2, 4], encoding: { ...encoding, nested: bytes } }),
      }),
      {
        codes: { shape: [1], dtype: "u32", values: [0x99999999] },
        scales: { shape: [1], dtype: "u32", values: [0x0804] },
        nested: { shape: [3], values: [0.5, 1, 2] },
      },
    );
    expect([...y!]).toEqual([1.5, 1.5, 1.5, 1.5, 4.5, 4.5, 4.5, 4.5]);
  });

  it("refuses codes of another length than the shape gives, with both lengths", () => {
    const trace = new Trace();
    const given = { codes: trace.input("codes", [2], "u32"), scales: trace.input("scales", [2]) };
    expect(() => dequantize(given, { shape: [2, 4], encoding })).toThrow(
      "dequantize steps [2, 4]: codes are u32 [2]; wants u32 [1].",
    );
  });
});

describe("a product with a matrix of codes", () => {
  it("decodes where it loads, so that the matrix has no memory", () => {
    const trace = new Trace();
    expect(stepsOf(matmul(fill(trace, [3, 4], 1), matrix(trace), "nt"))).not.toContain("dequantize");
    expect(stepsOf(matmul(fill(trace, [3, 4], 1), reshape(matrix(trace), [4, 2]), "nn"))).toContain("dequantize");
  });

  it("leaves the decoding to others that read the matrix", () => {
    const trace = new Trace();
    const w = matrix(trace);
    const y = matmul(fill(trace, [2, 2], 1), w);
    expect(stepsOf(add(y, w))).toEqual(expect.arrayContaining(["dequantize", "decodingMatmul"]));
  });
});
