/** @file Kernels that go by rows, and noise, against their f64 references, on shapes that fit nothing. */
import { describe, expect, it } from "vitest";
import {
  crossEntropy,
  gather,
  grad,
  keyOf,
  layerNorm,
  type Node,
  rmsNorm,
  rope,
  type Shape,
  sizeOf,
  sum,
  type Tensor,
  type Trace,
  uniform,
  uniformAt,
} from "../src/index.ts";
import { kernelError, runKernels } from "./device.ts";
import { type Case, check, device, errorOf, families, nodeOf, x, y, z } from "./kernel-cases.ts";

describe("norm kernels", () => {
  const shapes: readonly Shape[] = [
    [1, 1],
    [3, 64],
    [65, 63],
    [2, 40, 256],
    [5, 1021],
    [65539, 4],
  ];
  const eps = 1e-5;
  for (const shape of shapes) {
    const [D] = shape.slice(-1);
    const rms = (t: Trace): Tensor => rmsNorm(x(t, shape), y(t, [D!]), { eps });
    const layer = (t: Trace): Tensor => layerNorm(x(t, shape), y(t, [D!]), z(t, [D!]), { eps });
    check([
      { op: "rmsNorm", build: rms },
      { op: "layerNorm", build: layer },
      { op: "rmsNormGrad", build: (t) => grad(sum(rms(t)), [x(t, shape)])[0] },
      { op: "layerNormGrad", build: (t) => grad(sum(layer(t)), [x(t, shape)])[0] },
    ]);
  }
});

describe("cross-entropy kernels", () => {
  for (const [N, V] of [
    [1, 1],
    [3, 50257],
    [65, 63],
    [67, 256],
    [65539, 2],
  ] as const) {
    const loss = (t: Trace): Tensor => crossEntropy(x(t, [N, V]), y(t, [N], "i32"));
    const labels = { low: -1, high: V };
    check([
      { op: "crossEntropy", build: loss, ...labels },
      { op: "crossEntropyGrad", build: (t) => grad(sum(loss(t)), [x(t, [N, V])])[0], ...labels },
    ]);
  }

  it.each(families)("stays finite for logits that overflow exp, on %s", async (family) => {
    const node = nodeOf({ op: "crossEntropy", build: (t) => crossEntropy(x(t, [2, 5]), y(t, [2], "i32")) });
    const logits = { shape: [2, 5], values: Float64Array.of(-200, 200, 0, 199, 5, -3e38, -1e30, -1e30, -3e38, -1e30) };
    const labels = { shape: [2], dtype: "i32", values: Float64Array.of(3, 2) } as const;
    expect(await kernelError(device, device[family], node.op, [logits, labels], node.attrs)).toBeLessThan(1e-5);
  });
});

describe("rotary kernel", () => {
  for (const [shape, R, rows] of [
    [[2, 5, 3, 8], 8, 2],
    [[2, 5, 3, 12], 8, 1],
    [[1, 7, 2, 10], 6, 1],
    [[3, 1, 1, 64], 64, 3],
  ] as const)
    check([
      {
        op: "rope",
        build: (t) => rope(x(t, shape), y(t, [rows, shape[1]], "i32"), z(t, [9, R])),
        low: -1,
        high: 11,
      },
      {
        op: "rope",
        build: (t) => grad(sum(rope(x(t, shape), y(t, [rows, shape[1]], "i32"), z(t, [9, R]))), [x(t, shape)])[0],
        low: -1,
        high: 11,
      },
    ]);
});

describe("gather kernels", () => {
  for (const [V, D, ids] of [
    [1, 1, [3]],
    [65, 64, [2, 63]],
    [11, 7, [129]],
    [511, 8, [4099]],
    [3, 4, [70001]],
  ] as const) {
    const rows = (t: Trace): Tensor => gather(x(t, [V, D]), y(t, ids, "i32"));
    const some = { low: -1, high: V + 2 };
    check([{ op: "gather", build: rows, ...some }]);
    if (sizeOf(ids) < 5000) check([{ op: "gatherGrad", build: (t) => grad(sum(rows(t)), [x(t, [V, D])])[0], ...some }]);
  }
  check(
    [
      { op: "gather", build: (t) => gather(x(t, [65, 64], "f16"), y(t, [33], "i32")), high: 65 },
      { op: "gather", build: (t) => gather(x(t, [65, 7], "f16"), y(t, [33], "i32")), low: -1, high: 67 },
    ],
    2e-3,
  );

  it.each(families)("reads and writes tables larger than a binding in blocks of rows, on %s", async (family) => {
    const small = { ...device[family], maxBinding: 4096 };
    for (const dtype of ["f32", "f16"] as const) {
      const rows: Case = {
        op: "gather",
        build: (t) => gather(x(t, [301, 12], dtype), y(t, [65], "i32")),
        low: -1,
        high: 303,
      };
      expect(await errorOf(rows, small)).toBeLessThan(1e-6);
    }
    const back: Case = {
      op: "gatherGrad",
      build: (t) => grad(sum(gather(x(t, [301, 12]), y(t, [65], "i32"))), [x(t, [301, 12])])[0],
      low: -1,
      high: 303,
    };
    expect(await errorOf(back, small)).toBeLessThan(1e-6);
  });
});

describe("noise kernels", () => {
  it.each(families)("give the bits of uniformAt, on %s", async (family) => {
    const find = (op: string): Node =>
      nodeOf({ op, build: (t) => uniform(t.input("clock", [2], "u32"), "gate", [1021]) });
    const [stream, noise] = [find("stream"), find("uniform")];
    const clock = { shape: [2], dtype: "u32", values: Float64Array.of(4294967295, 7) } as const;
    const [state] = await runKernels(device, device[family], stream.op, [clock], stream.attrs);
    const given = { shape: [], dtype: "u32", values: state! } as const;
    const [got] = await runKernels(device, device[family], noise.op, [given], noise.attrs);
    const key = keyOf("gate");
    expect([...got!]).toEqual(Array.from({ length: 1021 }, (_, i) => uniformAt(4294967295, 7, key, i)));
  });
});
