/** @file Cross-entropy of class indices, from logits or straight from hidden states. */

import { ShapeError } from "../errors.ts";
import { crossEntropyGradLowering, crossEntropyLowering } from "../kernels/cross-entropy.ts";
import { show } from "../shape.ts";
import { apply, applyAll, type Tensor } from "../tensor.ts";
import { checkpoint } from "../trace/checkpoint.ts";
import { concat, slice } from "./layout.ts";
import type { Op } from "./op.ts";

type None = Record<never, never>;

/** Label of a position that is no target: it has loss 0 and sends no gradient. */
export const IGNORE = -100;

const crossEntropyOp: Op<None> = {
  name: "crossEntropy",
  infer([logits, labels]) {
    if (
      logits!.shape.length !== 2 ||
      labels!.shape.length !== 1 ||
      labels!.shape[0] !== logits!.shape[0] ||
      labels!.dtype !== "i32"
    )
      throw new ShapeError(
        `crossEntropy: logits ${show(logits!.shape)}, labels ${labels!.dtype} ${show(labels!.shape)}: wants [N, V] and i32 [N].`,
      );
    const rows = { shape: labels!.shape, dtype: "f32" } as const;
    return [rows, rows];
  },
  reference([logits, labels], { inputs: [aval] }) {
    const [N, V] = aval!.shape as [number, number];
    const lse = new Float64Array(N).map((_, n) => {
      const row = logits!.subarray(n * V, (n + 1) * V);
      const peak = row.reduce((a, b) => Math.max(a, b), -Infinity);
      return Math.log(row.reduce((s, x) => s + Math.exp(x - peak), 0)) + peak;
    });
    return [lse.map((z, n) => (labels![n]! < 0 ? 0 : z - logits![n * V + labels![n]!]!)), lse];
  },
  kernel: (spec, target) => crossEntropyLowering(spec, target),
  vjp: (c) => [apply(crossEntropyGradOp, [c.input(0), c.input(1), c.output(1), c.cotangent(0)], {}), null],
};

const crossEntropyGradOp: Op<None> = {
  name: "crossEntropyGrad",
  infer: ([logits]) => [{ shape: logits!.shape, dtype: "f32" }],
  reference([logits, labels, lse, dloss], { inputs: [aval] }) {
    const V = aval!.shape[1]!;
    return [
      logits!.map((x, i) => {
        const n = Math.floor(i / V);
        if (labels![n]! < 0) return 0;
        return (Math.exp(x - lse![n]!) - (i % V === labels![n] ? 1 : 0)) * dloss![n]!;
      }),
    ];
  },
  kernel: (spec, target) => crossEntropyGradLowering(spec, target),
};

/**
 * −log softmax(logits)[label] for every row; 0 where the label is negative (`IGNORE`).
 *
 * logits [N, V], labels i32 [N] → [N]. The probabilities are never written; the gradient is made from the saved
 * log-sum-exp.
 */
export const crossEntropy = (logits: Tensor, labels: Tensor): Tensor =>
  applyAll(crossEntropyOp, [logits, labels], {})[0]!;

/** Logits that a chunk of `linearCrossEntropy` may hold at once: 64 MiB in f32. */
const CHUNK = 1 << 24;

/**
 * Cross-entropy of the rows of `hidden` under a linear head, without ever holding all N×V logits: rows go in chunks whose
 * logits are recomputed by the backward pass.
 *
 * hidden [N, D], labels i32 [N] → [N]. `head` maps [n, D] → [n, V].
 */
export function linearCrossEntropy(
  hidden: Tensor,
  labels: Tensor,
  {
    vocabulary,
    head,
    chunk = CHUNK,
  }: { readonly vocabulary: number; readonly head: (h: Tensor) => Tensor; readonly chunk?: number },
): Tensor {
  const [N = 0] = hidden.shape;
  const rows = Math.max(1, Math.floor(chunk / vocabulary));
  if (rows >= N) return crossEntropy(head(hidden), labels);
  const losses: Tensor[] = [];
  for (let start = 0; start < N; start += rows) {
    const count = Math.min(rows, N - start);
    losses.push(
      checkpoint(slice(hidden, 0, start, count), (h) => crossEntropy(head(h), slice(labels, 0, start, count))),
    );
  }
  return concat(losses, 0);
}
