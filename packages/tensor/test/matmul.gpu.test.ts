/** @file Matrix product kernels against the op's reference, on both families of kernels. */
import { describe, expect, test } from "vitest";
import type { DType } from "../src/dtype.ts";
import type { Target } from "../src/kernels/target.ts";
import { type MatmulAttrs, type MatmulLayout, matmul } from "../src/ops/linear.ts";
import type { Op } from "../src/ops/op.ts";
import { Trace } from "../src/tensor.ts";
import { type Given, kernelError, noise, runKernels } from "./device.ts";
import { device, families } from "./kernel-cases.ts";

const trace = new Trace();
const op = matmul(trace.input("a", [1, 1]), trace.input("b", [1, 1])).node.op as Op<MatmulAttrs>;
const layouts = ["nn", "nt", "tn"] as const;

interface Options {
  /** Products side by side; one, without an axis for it, if absent. */
  readonly batch?: number;
  readonly bias?: boolean;
  readonly a?: DType;
  readonly b?: DType;
}

/** M, N and K. */
type Sizes = readonly [number, number, number];

function operands(
  layout: MatmulLayout,
  [M, N, K]: Sizes,
  { batch, bias = false, a = "f32", b = "f32" }: Options,
): Given[] {
  const lead = batch === undefined ? [] : [batch];
  const matrices = [layout === "tn" ? [K, M] : [M, K], layout === "nt" ? [N, K] : [K, N], ...(bias ? [[N]] : [])];
  const shapes = matrices.map((shape) => [...lead, ...shape]);
  return shapes.map((shape, i) => ({ shape, values: noise(shape, i + 1), dtype: [a, b][i] ?? "f32" }));
}

const errorOf = (target: Target, layout: MatmulLayout, sizes: Sizes, options: Options = {}): Promise<number> =>
  kernelError(device, target, op, operands(layout, sizes, options), { layout });

/** How many dispatches the product takes. */
function dispatches(target: Target, layout: MatmulLayout, [M, N, K]: Sizes): number {
  const inputs = operands(layout, [M, N, K], {}).map(({ shape }) => ({ shape, dtype: "f32" as const }));
  return op.kernel({ inputs, outputs: [{ shape: [M, N], dtype: "f32" }], attrs: { layout } }, target).dispatches.length;
}

// Sums of up to 1100 terms in f32; operands in f16 are rounded before both sides see them.
const TOLERANCE = 1e-5;

describe.each(families)("matmul, %s", (family) => {
  const target = device[family];

  test.each(layouts)("%s equals the reference for awkward sizes", async (layout) => {
    for (const sizes of [
      [1, 1, 1],
      [7, 13, 101],
      [63, 64, 65],
      [65, 63, 64],
      [2, 1021, 6],
    ] as const)
      expect(await errorOf(target, layout, sizes), sizes.join()).toBeLessThan(TOLERANCE);
  });

  test.each(layouts)("%s adds the bias once, whether the sum is whole or in parts", async (layout) => {
    for (const sizes of [
      [64, 64, 64],
      [4, 12, 1040],
    ] as const)
      expect(await errorOf(target, layout, sizes, { bias: true }), sizes.join()).toBeLessThan(TOLERANCE);
  });

  test.each(layouts)(
    "%s reads either operand from half precision, also where rows are of odd length",
    async (layout) => {
      for (const sizes of [
        [8, 64, 32],
        [5, 9, 7],
      ] as const)
        for (const options of [{ a: "f16" }, { b: "f16" }] as const)
          expect(
            await errorOf(target, layout, sizes, options),
            `${sizes.join()} ${JSON.stringify(options)}`,
          ).toBeLessThan(TOLERANCE);
    },
  );

  test.each(layouts)("%s multiplies matrices side by side, each with a bias of its own", async (layout) => {
    for (const [sizes, options] of [
      [[7, 13, 101], { batch: 5, bias: true }],
      [[64, 8, 32], { batch: 1 }],
      [[9, 64, 8], { batch: 3, b: "f16" }],
    ] as const)
      expect(await errorOf(target, layout, sizes, options), sizes.join()).toBeLessThan(TOLERANCE);
  });

  test.each(layouts)("%s takes as many matrices side by side as a binding holds", async (layout) => {
    const small = { ...target, maxBinding: 64 * 1024 };
    expect(await errorOf(small, layout, [30, 12, 7], { batch: 77, bias: true })).toBeLessThan(TOLERANCE);
  });

  test("results with more rows than a grid has workgroups are complete", async () => {
    expect(await errorOf({ ...target, maxWorkgroups: 100 }, "nt", [70_001, 3, 5])).toBeLessThan(TOLERANCE);
  });

  test.each(layouts)("%s cuts operands that are larger than a binding", async (layout) => {
    const small = { ...target, maxBinding: 32 * 1024 };
    // The second operand, the first, and the result are too large in turn.
    for (const sizes of [
      [8, 512, 64],
      [512, 8, 64],
      [64, 144, 8],
    ] as const) {
      expect(dispatches(small, layout, sizes), sizes.join()).toBeGreaterThan(1);
      expect(await errorOf(small, layout, sizes, { bias: true }), sizes.join()).toBeLessThan(TOLERANCE);
    }
  });

  test("a sum in parts yields the same bits every time", async () => {
    const given = operands("tn", [4, 12, 1040], {});
    expect(dispatches(target, "tn", [4, 12, 1040])).toBe(2);
    const [first] = await runKernels(device, target, op, given, { layout: "tn" });
    const [second] = await runKernels(device, target, op, given, { layout: "tn" });
    expect(second).toEqual(first);
  });
});

describe("matmul, lanes", () => {
  test.each(layouts)("%s equals the reference in the widest tiles and the thin ones", async (layout) => {
    for (const sizes of [
      [130, 132, 36],
      [36, 40, 1024],
      [96, 8, 64],
      [8, 96, 64],
    ] as const)
      expect(await errorOf(device.lanes, layout, sizes), sizes.join()).toBeLessThan(TOLERANCE);
  });
});
