/** @file How matrix products are lowered: what texts depend on, and what bindings hold. */
import { describe, expect, test } from "vitest";
import type { DType } from "../src/dtype.ts";
import { bitsOf, codeLengths, type Encoding } from "../src/encoding.ts";
import { DeviceError, ShapeError } from "../src/errors.ts";
import { matmulLowering } from "../src/kernels/matmul.ts";
import type { Target } from "../src/kernels/target.ts";
import { decodingMatmul } from "../src/ops/dequantize.ts";
import type { MatmulLayout } from "../src/ops/linear.ts";
import type { Lowering } from "../src/ops/op.ts";
import type { Aval } from "../src/shape.ts";

const MIB = 2 ** 20;
const lanes: Target = { family: "lanes", subgroup: 8, maxBinding: 128 * MIB, maxWorkgroups: 65_535 };
const families: readonly Target[] = [lanes, { ...lanes, subgroup: 4 }, { ...lanes, family: "tiles", subgroup: 0 }];

function lower(
  layout: MatmulLayout,
  M: number,
  N: number,
  K: number,
  target = lanes,
  bias = false,
  dtype: DType = "f32",
): Lowering {
  const shapes = [layout === "tn" ? [K, M] : [M, K], layout === "nt" ? [N, K] : [K, N], ...(bias ? [[N]] : [])];
  const inputs = shapes.map((shape) => ({ shape, dtype }));
  return matmulLowering({ inputs, outputs: [{ shape: [M, N], dtype: "f32" }], attrs: { layout } }, target);
}

const texts = (...lowerings: readonly Lowering[]): Set<string> =>
  new Set(lowerings.flatMap(({ dispatches }) => dispatches.map(({ kernel }) => kernel.code)));

describe.each(["nn", "nt", "tn"] as const)("matmul %s", (layout) => {
  test.each(families)(
    "shares one text between sizes, and with and without a bias ($family, subgroups of $subgroup)",
    (target) => {
      const sizes = [
        lower(layout, 512, 512, 512, target),
        lower(layout, 1024, 256, 768, target),
        lower(layout, 96, 160, 64, target, true),
      ];
      expect(texts(...sizes).size).toBe(1);
    },
  );

  test.each(families)(
    "binds no more than a binding holds, at offsets a binding may have ($family, subgroups of $subgroup)",
    (target) => {
      const small = { ...target, maxBinding: 2 * MIB };
      for (const dtype of ["f32", "f16"] as const)
        for (const [M, N, K] of [
          [5257, 201, 33],
          [33, 5257, 201],
          [201, 33, 5257],
          [3001, 3001, 7],
        ] as const) {
          const bytes = dtype === "f16" ? 2 : 4;
          const whole = { input: [M * K * bytes, K * N * bytes], output: [M * N * 4], scratch: [] as number[] };
          const { dispatches, scratch = [] } = lower(layout, M, N, K, small, false, dtype);
          for (const { of, index, offset = 0, size } of dispatches.flatMap((d) => d.operands)) {
            const total = (of === "scratch" ? scratch : whole[of])[index] ?? 0;
            expect(offset % 256).toBe(0);
            expect(size ?? total).toBeLessThanOrEqual(2 * MIB);
            expect(offset + (size ?? total)).toBeLessThanOrEqual(Math.ceil(total / 4) * 4);
          }
        }
    },
  );

  test("counts every multiplication and addition of the product once, however it is cut", () => {
    const flops = (target: Target): number =>
      lower(layout, 640, 320, 960, target)
        .dispatches.filter((d) => d.kernel.label !== "matmul sum")
        .reduce((sum, d) => sum + (d.cost?.flops ?? 0), 0);
    expect(flops({ ...lanes, maxBinding: MIB / 4 })).toBe(2 * 640 * 320 * 960);
  });
});

describe.each(["nn", "nt"] as const)("matmul %s with codes", (layout) => {
  const table = Array.from({ length: 16 }, (_, i) => i);
  test.each<Encoding>([
    { name: "four bits", table, block: 64, nested: null },
    { name: "eight bits by rows", table: null, block: null, nested: null },
  ])("binds no more of them than a binding holds, from the beginning of a block on ($name)", (encoding) => {
    for (const [rows, columns] of [
      [5000, 1001],
      [4096, 1024],
      [70_000, 43],
    ] as const) {
      const decode = { shape: [rows, columns] as const, encoding };
      const [M, N, K] = layout === "nt" ? [3, rows, columns] : [3, columns, rows];
      const { codes, scales } = codeLengths(decode);
      const attrs = { layout, decode, parts: 2 };
      const inputs: readonly Aval[] = [
        { shape: [M, K], dtype: "f32" },
        { shape: [codes], dtype: "u32" },
        { shape: [scales], dtype: "f32" },
      ];
      const spec = { inputs, outputs: [{ shape: [M, N], dtype: "f32" as const }], attrs };
      const { dispatches } = decodingMatmul.kernel(spec, { ...lanes, maxBinding: MIB });
      const parts = dispatches.flatMap((d) => d.operands.filter(({ of, index }) => of === "input" && index === 1));
      const row = (columns * bitsOf(encoding)) / 8;
      expect(parts.length).toBeGreaterThan(1);
      expect(parts.reduce((n, { size = 0 }) => n + size, 0)).toBeGreaterThanOrEqual(row * rows);
      for (const { offset = 0, size = Infinity } of parts) {
        expect(size).toBeLessThanOrEqual(MIB);
        expect(offset % 256).toBe(0);
        expect(offset % row).toBe(0);
        expect(((offset / row) * columns) % (encoding.block ?? 1)).toBe(0);
        expect(offset + size).toBeLessThanOrEqual(4 * codes);
      }
    }
  });
});

test("a row larger than a binding is refused, with its size and the binding's", () => {
  expect(() => lower("nt", 8, 8, MIB, { ...lanes, maxBinding: MIB })).toThrow(DeviceError);
  expect(() => lower("nt", 8, 8, MIB, { ...lanes, maxBinding: MIB })).toThrow(/4194304 bytes.*1048576 bytes/);
});

test("integer operands are refused", () => {
  expect(() => lower("nn", 8, 8, 8, lanes, false, "i32")).toThrow(ShapeError);
});
