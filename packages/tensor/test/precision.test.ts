/** @file Linear layers whose input is in half precision, on the interpreter. */
import { describe, expect, it } from "vitest";
import {
  cast,
  checkpoint,
  gelu,
  grad,
  linear,
  matmul,
  mul,
  reachable,
  run,
  sum,
  type Tensor,
  Trace,
} from "../src/index.ts";
import { noise } from "./noise.ts";

const halves = async (values: readonly number[]): Promise<readonly number[]> => {
  const { y } = await run(({ x }) => ({ y: cast(x, "f16") }), { x: { shape: [values.length], values } });
  return [...y!];
};

describe("rounding to half precision", () => {
  it("gives the nearest number, the even one of two", async () => {
    const ulp = 2 ** -10;
    const given = [1 + 0.49 * ulp, 1 + 0.5 * ulp, 1 + 1.5 * ulp, -3.3, 0.1];
    expect(await halves(given)).toEqual([1, 1, 1 + 2 * ulp, -3.30078125, 0.0999755859375]);
  });

  it("keeps small numbers to the last of its digits, and zero", async () => {
    expect(await halves([0.6 * 2 ** -24, 0.5 * 2 ** -24, 5.4 * 2 ** -24, 0])).toEqual([2 ** -24, 0, 5 * 2 ** -24, 0]);
  });

  it("bounds what is finite by ±65504 and keeps what is not", async () => {
    expect(await halves([65519, 1e6, -1e30, Infinity, -Infinity, NaN])).toEqual([
      65504,
      65504,
      -65504,
      Infinity,
      -Infinity,
      NaN,
    ]);
  });
});

describe("a linear layer of precision f16", () => {
  const shapes = { x: [3, 5], w: [4, 5] } as const;
  const values = { x: noise(shapes.x, 1), w: noise(shapes.w, 2) };
  const given = { x: { shape: shapes.x, values: values.x }, w: { shape: shapes.w, values: values.w } };
  const inHalves = <R>({ node: { trace } }: Tensor, body: () => R): R => {
    trace.precision = "f16";
    return body();
  };

  it("multiplies its input rounded, and its weights as they are", async () => {
    const { y, wanted } = await run(
      ({ x, w }) => inHalves(x, () => ({ y: linear(x, w), wanted: matmul(cast(cast(x, "f16"), "f32"), w, "nt") })),
      given,
    );
    expect(y).toEqual(wanted);
    const { y: exact } = await run(({ x, w }) => ({ y: linear(x, w) }), given);
    expect(y).not.toEqual(exact);
  });

  it("rounds no gradient: not the input's, and the weights' by their rounded input only", async () => {
    const g = noise([3, 4], 3).map((v) => v * 1e-9); // zeros in half precision
    const { dx, dw, wantedX, wantedW } = await run(
      ({ x, w, g: weights }) =>
        inHalves(x, () => {
          const [dx, dw] = grad(sum(mul(linear(x, w), weights)), [x, w]);
          return {
            dx: dx!,
            dw: dw!,
            wantedX: matmul(weights, w),
            wantedW: matmul(weights, cast(cast(x, "f16"), "f32"), "tn"),
          };
        }),
      { ...given, g: { shape: [3, 4], values: g } },
    );
    expect([dx, dw]).toEqual([wantedX, wantedW]);
    expect(dx!.every((v) => v !== 0)).toBe(true);
  });

  it("shares its rounded input with others that read the same", () => {
    const trace = new Trace();
    trace.precision = "f16";
    const [x, w] = [trace.input("x", [3, 5]), trace.input("w", [4, 5])];
    const names = reachable([linear(x, w), linear(x, w)]).map((n) => n.op.name);
    expect(names.filter((name) => name === "cast")).toHaveLength(1);
  });

  it("is recomputed in a checkpointed region to the same bits", async () => {
    const gradients = async (region: typeof checkpoint): Promise<unknown> =>
      run(({ x, w }) => {
        const loss = inHalves(x, () => sum(region(gelu(x), (h) => mul(linear(h, w), linear(gelu(h), w)))));
        return { dx: grad(loss, [x])[0]! };
      }, given);
    expect(await gradients(checkpoint)).toEqual(await gradients((x, f) => f(x)));
  });
});
