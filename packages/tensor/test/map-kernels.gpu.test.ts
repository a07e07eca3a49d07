/** @file Elementwise kernels, sums and copies against their f64 references, on shapes that fit nothing. */
import { describe, expect, it } from "vitest";
import {
  abs,
  add,
  assign,
  cast,
  concat,
  type DType,
  div,
  elementwise,
  exp,
  fill,
  gelu,
  geluErf,
  grad,
  less,
  log,
  maximum,
  minimum,
  mul,
  scale,
  type Shape,
  shift,
  sigmoid,
  silu,
  slice,
  softplus,
  split,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  type Tensor,
  transpose,
  updateRows,
  where,
} from "../src/index.ts";
import { kernelError, noise, runKernels } from "./device.ts";
import { type Case, check, device, errorOf, families, nodeOf, x, y, z } from "./kernel-cases.ts";

describe("elementwise kernels", () => {
  // Shapes by how the operands are walked: flat in vectors with and without a rest, rows, columns, scalars, both ways
  // at once, and strides that need every axis.
  const pairs: readonly (readonly [Shape, Shape])[] = [
    [[1], [1]],
    [[3], [3]],
    [[64], [64]],
    [
      [65, 63],
      [65, 63],
    ],
    [
      [70001, 2],
      [70001, 2],
    ],
    [[17, 64], [64]],
    [[17, 63], [63]],
    [
      [17, 64],
      [17, 1],
    ],
    [
      [17, 63],
      [17, 1],
    ],
    [[5, 7], []],
    [[], [5, 7]],
    [
      [13, 1],
      [1, 11],
    ],
    [
      [3, 1, 5, 1],
      [1, 7, 1, 4],
    ],
    [
      [2, 3, 4, 5, 8],
      [2, 1, 4, 1, 8],
    ],
  ];
  check(pairs.map(([a, b]) => ({ op: "add", build: (t) => add(x(t, a), y(t, b)) })));

  const unary: Readonly<Record<string, (a: Tensor) => Tensor>> = {
    exp,
    abs,
    sigmoid,
    tanh,
    silu,
    gelu,
    geluErf,
    softplus,
  };
  check(Object.entries(unary).map(([op, f]) => ({ op, build: (t) => f(x(t, [67])) })));
  check([
    { op: "log", build: (t) => log(x(t, [67])), offset: 1.01 },
    { op: "sqrt", build: (t) => sqrt(x(t, [67])), offset: 1 },
    { op: "sub", build: (t) => sub(x(t, [67]), y(t, [67])) },
    { op: "mul", build: (t) => square(x(t, [67])) },
    { op: "div", build: (t) => div(x(t, [67]), y(t, [67])), offset: 2 },
    { op: "maximum", build: (t) => maximum(x(t, [67]), y(t, [67])) },
    { op: "minimum", build: (t) => minimum(x(t, [67]), y(t, [67])) },
    { op: "less", build: (t) => less(x(t, [67]), y(t, [67])) },
    { op: "where", build: (t) => where(less(x(t, [67]), y(t, [67])), x(t, [67]), y(t, [67])) },
    { op: "affine", build: (t) => scale(x(t, [67]), -1 / 3) },
    { op: "affine", build: (t) => shift(x(t, [67]), -1e-7) },
    { op: "fill", build: (t) => fill(t, [67], -2.5) },
    { op: "siluGrad", build: (t) => grad(sum(silu(x(t, [67]))), [x(t, [67])])[0] },
    { op: "geluGrad", build: (t) => grad(sum(gelu(x(t, [67]))), [x(t, [67])])[0] },
    { op: "geluErfGrad", build: (t) => grad(sum(geluErf(x(t, [67]))), [x(t, [67])])[0] },
    { op: "tanh", build: (t) => tanh(x(t, [67])), offset: 100 },
    // Errors are relative to the largest value: small tails, where a sum with 1 has no digits left.
    { op: "geluErf", build: (t) => geluErf(x(t, [67])), offset: -5 },
    { op: "geluErfGrad", build: (t) => grad(sum(geluErf(x(t, [67]))), [x(t, [67])])[0], offset: -5 },
    { op: "geluErf", build: (t) => geluErf(x(t, [67])), offset: 9 },
    { op: "softplus", build: (t) => softplus(x(t, [67])), offset: -12 },
    { op: "softplus", build: (t) => softplus(x(t, [67])), offset: 60 },
  ]);
  check([
    { op: "cast", build: (t) => cast(x(t, [67], "i32"), "f32"), low: -9, high: 9 },
    { op: "cast", build: (t) => cast(x(t, [67]), "i32"), offset: -3 },
    { op: "cast", build: (t) => cast(x(t, [67]), "f16") },
    { op: "add", build: (t) => add(x(t, [9, 7], "i32"), y(t, [7], "i32")), low: -1e6, high: 1e6 },
    { op: "mul", build: (t) => mul(x(t, [9, 8]), y(t, [9, 1], "i32")), low: -9, high: 9 },
  ]);
  check(
    [
      { op: "cast", build: (t) => cast(x(t, [67], "f16"), "f32") },
      { op: "mul", build: (t) => mul(x(t, [9, 7]), y(t, [7], "f16")) },
      { op: "mul", build: (t) => mul(x(t, [9, 8]), y(t, [9, 1], "f16")) },
    ],
    2e-3,
  );

  it.each(families)(
    "round to half precision what is finite to ±65504 at most, and keep the rest, on %s",
    async (family) => {
      const values = Float64Array.of(65519, 1e6, -1e30, 2 ** -24, Infinity, -Infinity, NaN);
      const { op, attrs } = nodeOf({ op: "cast", build: (t) => cast(x(t, [7]), "f16") });
      const [got] = await runKernels(device, device[family], op, [{ shape: [7], values }], attrs);
      expect([...got!]).toEqual([65504, 65504, -65504, 2 ** -24, Infinity, -Infinity, NaN]);
    },
  );

  it.each(families)("goes in chunks where an operand is larger than a binding, on %s", async (family) => {
    const small = { ...device[family], maxBinding: 2048 };
    for (const [a, b] of [
      [[1021], [1021]],
      [[131, 16], [16]],
      [
        [131, 15],
        [131, 1],
      ],
    ] as const)
      expect(await errorOf({ op: "add", build: (t) => add(x(t, a), y(t, b)) }, small)).toBeLessThanOrEqual(1e-6);
    const halves: Case = { op: "cast", build: (t) => cast(x(t, [1021], "f16"), "f32") };
    expect(await errorOf(halves, small)).toBeLessThanOrEqual(1e-6);
  });

  it("says that a literal is no f32", () => {
    const node = nodeOf({ op: "fill", build: (t) => fill(t, [3], -1e39) });
    const lower = (): unknown => node.op.kernel(node, device.tiles);
    expect(lower).toThrow("WGSL has no literal for -1e+39");
  });

  it("says which operand is too large where it cannot be split", () => {
    const node = nodeOf({ op: "add", build: (t) => add(x(t, [4, 600]), y(t, [600])) });
    const lower = (): unknown =>
      node.op.kernel({ inputs: node.inputs, outputs: node.outputs, attrs: {} }, { ...device.tiles, maxBinding: 2048 });
    expect(lower).toThrow("add: f32 [600] is 2400 bytes; this adapter binds at most 2048");
  });

  it.each(families)("lets anyone define an op, on %s", async (family) => {
    const cube = elementwise<Record<never, never>>({
      name: "cube",
      f: ([a]) => a! ** 3,
      wgsl: ([a]) => `(${a} * ${a} * ${a})`,
    });
    expect(await kernelError(device, device[family], cube, [{ shape: [5], values: noise([5]) }], {})).toBeLessThan(
      1e-6,
    );
  });
});

describe("sum kernels", () => {
  const shapes: readonly (readonly [Shape, readonly number[]])[] = [
    [[63, 65], [1]],
    [[64, 64], [1]],
    [[1, 7], [1]],
    [[65539, 5], [1]],
    [[3, 70001], [1]],
    [[100003], [0]],
    [[1 << 17], [0]],
    [[64, 64], [0]],
    [[65539, 4], [0]],
    [[7, 65537], [0]],
    [[3, 1021, 5], [1]],
    [[3, 127, 64], [1]],
  ];
  check(shapes.map(([shape, axes]) => ({ op: "sum", build: (t) => sum(x(t, shape), axes) })));
  check([{ op: "sum", build: (t) => sum(x(t, [33, 9], "i32"), [0]), high: 9 }]);
  check([{ op: "sum", build: (t) => sum(x(t, [33, 12], "f16"), [0]) }], 2e-3);
});

describe("copies", () => {
  const cut = (shape: Shape, axis: number, start: number, count: number, dtype: DType = "f32"): Case => ({
    op: "slice",
    build: (t) => slice(x(t, shape, dtype), axis, start, count),
    low: -1e6,
    high: 1e6,
  });
  check([
    cut([65], 0, 1, 63),
    cut([17, 64], 0, 3, 5),
    cut([17, 64], 1, 4, 8),
    cut([17, 64], 1, 3, 8),
    cut([3, 5, 7, 2], 2, 1, 3),
    cut([17, 6], 1, 2, 3, "i32"),
    cut([12, 10], 1, 2, 4, "f16"),
    cut([12, 5], 0, 2, 4, "f16"),
    { op: "split", build: (t) => split(x(t, [17, 12]), 1, [4, 4, 4])[0] },
    { op: "split", build: (t) => split(x(t, [3, 7, 5]), 1, [1, 4, 2])[0] },
    { op: "concat", build: (t) => concat([x(t, [5, 3]), y(t, [5, 1]), z(t, [5, 4])], 1) },
    { op: "concat", build: (t) => concat([x(t, [5, 8]), y(t, [5, 4])], 1) },
    { op: "concat", build: (t) => concat([x(t, [2, 3, 5]), y(t, [2, 8, 5])], 1) },
    { op: "concat", build: (t) => concat([x(t, [3], "i32"), y(t, [65], "i32")], 0), low: -1e9, high: 1e9 },
    { op: "concat", build: (t) => concat([x(t, [3, 2], "f16"), y(t, [3, 4], "f16")], 1) },
    { op: "transpose", build: (t) => transpose(x(t, [63, 65]), [1, 0]) },
    { op: "transpose", build: (t) => transpose(x(t, [64, 128]), [1, 0]) },
    { op: "transpose", build: (t) => transpose(x(t, [5, 7, 3, 8]), [0, 2, 1, 3]) },
    { op: "transpose", build: (t) => transpose(x(t, [2, 3, 4, 5, 2, 3]), [5, 0, 4, 1, 3, 2]) },
    { op: "transpose", build: (t) => transpose(x(t, [5, 3, 4], "f16"), [1, 0, 2]) },
  ]);
  check([
    { op: "assign", build: (t) => assign(t.param("p", [65, 63]), x(t, [65, 63])) },
    { op: "assign", build: (t) => assign(t.param("p", [67], "f16"), x(t, [67], "f16")) },
    { op: "assign", build: (t) => assign(t.param("p", [67], "i32"), x(t, [67], "i32")), low: -2e9, high: 2e9 },
    {
      op: "updateRows",
      build: (t) => updateRows(t.param("p", [3, 7, 2, 4]), x(t, [3, 2, 2, 4]), y(t, [3], "i32")),
      low: 0,
      high: 9,
    },
    { op: "updateRows", build: (t) => updateRows(t.param("p", [5, 7, 3]), x(t, [5, 4, 3]), y(t, [5], "i32")), high: 9 },
  ]);

  it("refuses to split a pair of halves, and says what to do", () => {
    const node = nodeOf(cut([12, 5], 1, 2, 3, "f16"));
    const lower = (): unknown =>
      node.op.kernel({ inputs: node.inputs, outputs: node.outputs, attrs: node.attrs }, device.tiles);
    expect(lower).toThrow("cast it to f32 first");
  });
});
