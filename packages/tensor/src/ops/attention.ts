/** @file Grouped-query attention that never writes its T×S scores to memory, forward or backward. */
import { attentionLowering } from "../kernels/attention.ts";
import { apply, applyAll, type Tensor } from "../tensor.ts";
import { attentionGradBiasOp, attentionGradKVOp, attentionGradQOp, attentionSideOp } from "./attention-grad.ts";
import { checkAttention, type Extra, forEachPair, type PairAttrs } from "./attention-pairs.ts";
import type { Op } from "./op.ts";
import { streamHalves } from "./random.ts";

export interface AttentionAttrs {
  /** Query t sees keys 0 … t + S − T (aligned at the last query and the last key). */
  readonly causal: boolean;
  /** What products of queries and keys are multiplied by before the softmax; 1/√E is usual. */
  readonly scale: number;
  /**
   * The mask holds numbers of texts that share a row: 0 hides a key, n > 0 shows it to queries with the same number, −1 to
   * all. The number of query t is that of key t + S − T. Default false.
   */
  readonly packed?: boolean | undefined;
  /** Dropout of the softmax's weights; none if absent. */
  readonly dropout?: AttentionDropout | undefined;
}

/** Drops weights with probability p and divides the others by 1 − p; the noise is that of `uniform(clock, name, …)`. */
export interface AttentionDropout {
  readonly p: number;
  /** u32 [2]: seed and step. */
  readonly clock: Tensor;
  /** Weight (b, h, t, s) is dropped where element ((b·H + h)·T + t)·S + s of the noise of this name is below p. */
  readonly name: string;
}

const attentionOp: Op<PairAttrs> = {
  name: "attention",
  infer(inputs, attrs) {
    checkAttention(inputs, attrs);
    const { shape } = inputs[0]!;
    return [
      { shape, dtype: "f32" },
      { shape: shape.slice(0, 3), dtype: "f32" },
    ];
  },
  reference([q, k, v, ...rest], spec) {
    const E = spec.inputs[0]!.shape[3]!;
    const values = { q: q!, k: k!, ...Object.fromEntries(spec.attrs.extras.map((name, i) => [name, rest[i]])) };
    const out = new Float64Array(q!.length);
    const peak = new Float64Array(q!.length / E).fill(-Infinity);
    const total = new Float64Array(q!.length / E);
    forEachPair(spec, values, ({ row, score }) => (peak[row] = Math.max(peak[row]!, score)));
    forEachPair(spec, values, ({ row, q: at, k: key, score, keep }) => {
      const p = Math.exp(score - peak[row]!);
      total[row]! += p;
      for (let e = 0; e < E; e++) out[at + e]! += p * keep * v![key + e]!;
    });
    // A query that sees no key attends to nothing: zeros, and a log-sum-exp of 0 so that its gradient is zero too.
    for (let i = 0; i < out.length; i++) out[i]! /= total[Math.floor(i / E)]! || 1;
    return [out, total.map((z, row) => (z === 0 ? 0 : Math.log(z) + peak[row]!))];
  },
  kernel: (spec, target) => attentionLowering(spec, target),
  vjp(c) {
    const { extras } = c.attrs;
    const extra = (name: Extra): readonly Tensor[] =>
      extras.includes(name) ? [c.input(3 + extras.indexOf(name))] : [];
    const [q, k, v, dout] = [c.input(0), c.input(1), c.input(2), c.cotangent(0)];
    const narrow = [c.output(1), ...extra("mask"), ...extra("noise")];
    const side = apply(attentionSideOp, [c.output(0), dout, ...narrow], c.attrs);
    const inputs = [q, k, v, dout, side, ...extra("bias")];
    const [dk, dv] = c.needs(1) || c.needs(2) ? applyAll(attentionGradKVOp, inputs, c.attrs) : [];
    return [
      c.needs(0) ? apply(attentionGradQOp, inputs, c.attrs) : null,
      dk ?? null,
      dv ?? null,
      ...extras.map((name, i) =>
        name === "bias" && c.needs(3 + i) ? apply(attentionGradBiasOp, inputs, c.attrs) : null,
      ),
    ];
  },
};

/**
 * Attention: dropout(softmax(scale · q kᵀ + bias)) v for every head; query head h reads key head ⌊h·G/H⌋.
 *
 * q [B, T, H, E], k and v [B, S, G, E], key mask f32 or i32 [B, S] (0 hides a key) or null, bias [1 or B, H, T, S] or null
 * → [B, T, H, E]. Heads stand next to their width, as a projection makes them, so nothing is transposed. A query that sees
 * no key gets zeros. Only the gradient of a bias, where it is asked for, is as large as the scores.
 * @throws {ShapeError} if shapes or types do not fit, or packed rows have no mask.
 * @see Vaswani et al. 2017, §3.2; Ainslie et al. 2023 (grouped queries); Dao 2023 (never writing the scores).
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | null,
  { causal, scale, packed = false, dropout }: AttentionAttrs,
  bias: Tensor | null = null,
): Tensor {
  const noise = dropout === undefined || dropout.p === 0 ? null : streamHalves(dropout.clock, dropout.name);
  const given = Object.entries({ mask, bias, noise } satisfies Record<Extra, Tensor | null>);
  const extras = given.flatMap(([name, t]) => (t === null ? [] : [{ name: name as Extra, t }])); // its keys are Extras
  const attrs = { causal, scale, packed, drop: dropout?.p ?? 0, extras: extras.map((e) => e.name) };
  const [out] = applyAll(attentionOp, [q, k, v, ...extras.map((e) => e.t)], attrs);
  return out as Tensor; // attention has two outputs
}
