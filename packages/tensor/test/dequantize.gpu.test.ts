/** @file Kernels that decode codes, against their references, on both families of kernels. */
import { describe, expect, it } from "vitest";
import { bitsOf, codeLengths, type DequantizeAttrs, type Encoding } from "../src/encoding.ts";
import { decodingMatmul, dequantizeOp } from "../src/ops/dequantize.ts";
import type { MatmulLayout } from "../src/ops/linear.ts";
import { type Given, kernelError, noise } from "./device.ts";
import { device, families } from "./kernel-cases.ts";

const table = Array.from({ length: 16 }, (_, i) => Math.fround(Math.sin(3 * i + 1)));
const nested = { table: Array.from({ length: 256 }, (_, i) => Math.fround(Math.cos(i) + 2)), block: 4 };
const encodings: readonly Encoding[] = [
  { name: "four bits", table, block: 64, nested: null },
  { name: "four bits, nested scales", table, block: 32, nested },
  { name: "eight bits by blocks", table: null, block: 32, nested: null },
  { name: "eight bits by rows", table: null, block: null, nested: null },
];

/** Random words. */
const words = (length: number, seed: number): Given => ({
  shape: [length],
  dtype: "u32",
  values: noise([length], seed).map((x) => Math.floor(((x + 1) / 2) * 0xffffffff)),
});

/** A matrix as random codes, with the tables that its kernels read. */
function codesOf(attrs: DequantizeAttrs): Given[] {
  const { codes, scales, nested: inner } = codeLengths(attrs);
  const tables = [...(attrs.encoding.table ?? []), ...(attrs.encoding.nested?.table ?? [])];
  const scale = 1 / 2 ** (bitsOf(attrs.encoding) - 4);
  return [
    words(codes, 1),
    inner === 0 ? { shape: [scales], values: noise([scales], 2).map((x) => x * scale) } : words(scales, 2),
    ...(inner === 0 ? [] : [{ shape: [inner], values: noise([inner], 3) }]),
    ...(tables.length === 0 ? [] : [{ shape: [tables.length], values: Float64Array.from(tables) }]),
  ];
}

describe.each(encodings)("$name", (encoding) => {
  describe.each(families)("on %s", (family) => {
    const target = device[family];

    // Compilers may order the two products of an integer's scale as they like.
    const tolerance = encoding.table === null ? 1e-7 : 0;

    it("are decoded to the bits of the reference, whole blocks or not, rows of odd length or not", async () => {
      for (const shape of [
        [64, 64],
        [5, 43],
        [7, 172],
        [1, 2],
      ] as const) {
        const attrs = { shape, encoding };
        const error = await kernelError(device, target, dequantizeOp, codesOf(attrs), attrs);
        expect(error, shape.join()).toBeLessThanOrEqual(tolerance);
      }
    });

    it.each<MatmulLayout>(["nt", "nn"])("are multiplied in layout %s as their matrix is", async (layout) => {
      for (const [M, N, K, dtype] of [
        [8, 64, 128, "f32"], // scales read once a block
        [5, 43, 37, "f32"], // blocks across rows, rows of odd length
        [20, 5, 64, "f16"], // the matrix is the shared operand
      ] as const) {
        const shape = layout === "nt" ? ([N, K] as const) : ([K, N] as const);
        const decode = { shape, encoding };
        const codes = codesOf(decode);
        const a = { shape: [M, K], values: noise([M, K], 4), dtype };
        const bias = { shape: [N], values: noise([N], 5) };
        const attrs = { layout, decode, parts: codes.length };
        const error = await kernelError(device, target, decodingMatmul, [a, ...codes, bias], attrs);
        expect(error, `${M} × ${N} × ${K}`).toBeLessThan(1e-5);
      }
    });
  });
});

describe("codes that are larger than a binding", () => {
  const target = { ...device.lanes, maxBinding: 16 * 1024 };
  const [, byBlocks, , byRows] = encodings;
  it.each([
    ["nt", byBlocks!],
    ["nn", byBlocks!],
    ["nn", byRows!],
  ] as const)("are cut in layout %s, and each part finds its scales", async (layout, encoding) => {
    const [M, N, K] = layout === "nt" ? [4, 1024, 64] : [4, 64, 1024];
    const decode = { shape: layout === "nt" ? ([N, K] as const) : ([K, N] as const), encoding };
    const codes = codesOf(decode);
    const a = { shape: [M, K], values: noise([M, K], 4) };
    const attrs = { layout, decode, parts: codes.length };
    expect(await kernelError(device, target, decodingMatmul, [a, ...codes], attrs)).toBeLessThan(1e-5);
    expect(await kernelError(device, target, dequantizeOp, codes, decode)).toBeLessThanOrEqual(1e-7);
  });
});
