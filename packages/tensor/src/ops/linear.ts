/** @file Matrix products, and the linear layer made of them. */

import { ShapeError } from "../errors.ts";
import { matmulLowering } from "../kernels/matmul.ts";
import { sameShape, type Shape, show, sizeOf } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { cast } from "./elementwise.ts";
import { reshape } from "./layout.ts";
import type { Op } from "./op.ts";
import { sum } from "./reduce.ts";

/**
 * How operands are stored: `nn` A[M,K]·B[K,N], `nt` A[M,K]·B[N,K]ᵀ, `tn` A[K,M]ᵀ·B[K,N].
 */
export type MatmulLayout = "nn" | "nt" | "tn";

export interface MatmulAttrs {
  readonly layout: MatmulLayout;
}

/** Sizes of one product, and the axis of products side by side where there is one. */
interface MatmulSizes {
  readonly batch: Shape;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function matmulSizes(a: Shape, b: Shape, layout: MatmulLayout): MatmulSizes {
  const [a0 = 0, a1 = 0] = a.slice(-2);
  const [b0 = 0, b1 = 0] = b.slice(-2);
  const [M, K] = layout === "tn" ? [a1, a0] : [a0, a1];
  const [N, L] = layout === "nt" ? [b0, b1] : [b1, b0];
  const batch = a.slice(0, -2);
  if (a.length < 2 || a.length > 3 || b.length !== a.length || K !== L)
    throw new ShapeError(
      `matmul ${layout}: ${show(a)} and ${show(b)} do not fit: the inner lengths are ${K} and ${L}.`,
    );
  if (!sameShape(batch, b.slice(0, -2)))
    throw new ShapeError(`matmul ${layout}: ${show(a)} and ${show(b)} are not as many products side by side.`);
  return { batch, M, N, K };
}

/** A product of two matrices, and a bias where there is a third input. */
export const matmulOp: Op<MatmulAttrs> = {
  name: "matmul",
  infer([a, b, bias], { layout }) {
    const { batch, M, N } = matmulSizes(a!.shape, b!.shape, layout);
    const count = sizeOf(batch) * N;
    if (bias !== undefined && sizeOf(bias.shape) !== count)
      throw new ShapeError(`matmul ${layout}: the bias ${show(bias.shape)} must have ${count} elements.`);
    return [{ shape: [...batch, M, N], dtype: "f32" }];
  },
  reference([a, b, bias], { attrs: { layout }, inputs: [sa, sb] }) {
    const { batch, M, N, K } = matmulSizes(sa!.shape, sb!.shape, layout);
    const y = new Float64Array(sizeOf(batch) * M * N);
    for (let i = 0; i < sizeOf(batch); i++) {
      const [left, right] = [a!.subarray(i * M * K), b!.subarray(i * K * N)];
      for (let m = 0; m < M; m++)
        for (let n = 0; n < N; n++) {
          let sum = bias?.[i * N + n] ?? 0;
          for (let k = 0; k < K; k++)
            sum += left[layout === "tn" ? k * M + m : m * K + k]! * right[layout === "nt" ? n * K + k : k * N + n]!;
          y[(i * M + m) * N + n] = sum;
        }
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
      ...(bias === undefined ? [] : [c.needs(2) ? reshape(sum(dy, [-2]), bias.shape) : null]),
    ];
  },
};

/**
 * Product of two matrices, f32 accumulation; either may be stored in f16.
 *
 * `nn` A[M,K]·B[K,N] → [M,N]; `nt` A[M,K]·B[N,K]ᵀ; `tn` A[K,M]ᵀ·B[K,N]. Both may have one more axis in front: products
 * side by side.
 * @throws {ShapeError} if the inner lengths, or the axes in front, differ.
 */
export const matmul = (a: Tensor, b: Tensor, layout: MatmulLayout = "nn"): Tensor =>
  apply(matmulOp, [a, b], { layout });

/**
 * y = x Wᵀ + b, summed in f32. Where the trace's precision is f16, x is rounded to it; gradients are not.
 *
 * x [..., in], W [out, in], b [out] → y [..., out]; or, where every row of a batch has weights of its own,
 * x [B, ..., in], W [B, out, in], b [B, out] → y [B, ..., out].
 * @throws {ShapeError} if the last axis of x is not `in`, or its first axis not B.
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const features = x.shape.at(-1) ?? 0;
  const [out = 0, inner] = weight.shape.slice(-2);
  const batch = weight.shape.slice(0, -2);
  const place = x.node.trace.label || "the top";
  if (features !== inner || batch.length > 1)
    throw new ShapeError(
      `linear at ${place}: x ${show(x.shape)} has ${features} features, weight ${show(weight.shape)} wants ${inner}.`,
    );
  if (!sameShape(batch, x.shape.slice(0, -1).slice(0, batch.length)))
    throw new ShapeError(
      `linear at ${place}: x ${show(x.shape)} is no batch of ${batch.join()} rows, as weight ${show(weight.shape)} wants.`,
    );
  const rows = reshape(operand(x), [...batch, sizeOf(x.shape) / sizeOf(batch) / features, features]);
  const y = apply(matmulOp, bias === null ? [rows, weight] : [rows, weight, bias], { layout: "nt" });
  return reshape(y, [...x.shape.slice(0, -1), out]);
}

/** Inputs of linear layers in half precision, so that layers which read the same one share it. */
const halves = new WeakMap<Tensor, Tensor>();

/** The input of a linear layer in the precision of its trace. */
function operand(x: Tensor): Tensor {
  const { trace } = x.node;
  if (trace.precision === "f32" || x.dtype !== "f32") return x;
  const known = halves.get(x);
  if (known !== undefined && known.node.region === trace.region) return known;
  const half = cast(x, "f16");
  halves.set(x, half);
  return half;
}
