/** @file Matrix products, and the linear layer made of them. */

import { ShapeError } from "../errors.ts";
import { matmulLowering } from "../kernels/matmul.ts";
import { show, sizeOf } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { reshape } from "./layout.ts";
import type { Op } from "./op.ts";
import { sumTo } from "./reduce.ts";

/**
 * How operands are stored: `nn` A[M,K]·B[K,N], `nt` A[M,K]·B[N,K]ᵀ, `tn` A[K,M]ᵀ·B[K,N].
 */
export type MatmulLayout = "nn" | "nt" | "tn";

export interface MatmulAttrs {
  readonly layout: MatmulLayout;
}

/** M, N and K of a product. */
function matmulSizes(
  a: readonly number[],
  b: readonly number[],
  layout: MatmulLayout,
): { M: number; N: number; K: number } {
  const [a0 = 0, a1 = 0] = a;
  const [b0 = 0, b1 = 0] = b;
  const [M, K] = layout === "tn" ? [a1, a0] : [a0, a1];
  const [N, L] = layout === "nt" ? [b0, b1] : [b1, b0];
  if (a.length !== 2 || b.length !== 2 || K !== L)
    throw new ShapeError(
      `matmul ${layout}: ${show(a)} and ${show(b)} do not fit: the inner lengths are ${K} and ${L}.`,
    );
  return { M, N, K };
}

/** A product of two matrices, and a bias where there is a third input. */
export const matmulOp: Op<MatmulAttrs> = {
  name: "matmul",
  infer([a, b, bias], { layout }) {
    const { M, N } = matmulSizes(a!.shape, b!.shape, layout);
    if (bias !== undefined && sizeOf(bias.shape) !== N)
      throw new ShapeError(`matmul ${layout}: the bias ${show(bias.shape)} must have ${N} elements.`);
    return [{ shape: [M, N], dtype: "f32" }];
  },
  reference([a, b, bias], { attrs: { layout }, inputs: [sa, sb] }) {
    const { M, N, K } = matmulSizes(sa!.shape, sb!.shape, layout);
    const y = new Float64Array(M * N);
    for (let m = 0; m < M; m++)
      for (let n = 0; n < N; n++) {
        let sum = bias?.[n] ?? 0;
        for (let k = 0; k < K; k++)
          sum += a![layout === "tn" ? k * M + m : m * K + k]! * b![layout === "nt" ? n * K + k : k * N + n]!;
        y[m * N + n] = sum;
      }
    return [y];
  },
  kernel: (spec, target) => matmulLowering(spec, target),
  vjp(c) {
    const { layout } = c.attrs;
    const dy = c.cotangent(0);
    const da = (): Tensor =>
      layout === "nn"
        ? matmul(dy, c.input(1), "nt")
        : layout === "nt"
          ? matmul(dy, c.input(1), "nn")
          : matmul(c.input(1), dy, "nt");
    const db = (): Tensor =>
      layout === "nn"
        ? matmul(c.input(0), dy, "tn")
        : layout === "nt"
          ? matmul(dy, c.input(0), "tn")
          : matmul(c.input(0), dy, "nn");
    const bias = c.node.inputs[2];
    return [
      c.needs(0) ? da() : null,
      c.needs(1) ? db() : null,
      ...(bias === undefined ? [] : [c.needs(2) ? sumTo(dy, bias.shape) : null]),
    ];
  },
};

/**
 * Product of two matrices, f32 accumulation; either may be stored in f16.
 *
 * `nn` A[M,K]·B[K,N] → [M,N]; `nt` A[M,K]·B[N,K]ᵀ; `tn` A[K,M]ᵀ·B[K,N].
 * @throws {ShapeError} if the inner lengths differ.
 */
export const matmul = (a: Tensor, b: Tensor, layout: MatmulLayout = "nn"): Tensor =>
  apply(matmulOp, [a, b], { layout });

/**
 * y = x Wᵀ + b.
 *
 * x [..., in], W [out, in], b [out] → y [..., out].
 * @throws {ShapeError} if the last axis of x is not `in`.
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const features = x.shape.at(-1) ?? 0;
  const [out = 0, inner] = weight.shape;
  if (features !== inner || weight.shape.length !== 2)
    throw new ShapeError(
      `linear at ${x.node.trace.label || "the top"}: x ${show(x.shape)} has ${features} features, weight ${show(weight.shape)} wants ${inner}.`,
    );
  const rows = reshape(x, [sizeOf(x.shape) / features, features]);
  const y = apply(matmulOp, bias === null ? [rows, weight] : [rows, weight, bias], { layout: "nt" });
  return reshape(y, [...x.shape.slice(0, -1), out]);
}
