/** @file Grouped-query attention that never writes its T×S scores to memory, forward or backward. */

import { ShapeError } from "../errors.ts";
import { attentionGradKVLowering, attentionGradQLowering, attentionLowering } from "../kernels/attention.ts";
import { type Aval, show } from "../shape.ts";
import { apply, applyAll, type Tensor } from "../tensor.ts";
import { mul } from "./elementwise.ts";
import type { Op, Value } from "./op.ts";
import { sum } from "./reduce.ts";

export interface AttentionAttrs {
  /** Query t sees keys 0 … t + S − T (aligned at the last query and the last key). */
  readonly causal: boolean;
  /** What scores are multiplied by before the softmax; 1/√E is usual. */
  readonly scale: number;
}

/** Sizes of one attention: B batch, T queries, S keys, H query heads, G key heads (H is a multiple of G), E head width. */
function attentionSizes(q: Aval, k: Aval): { B: number; T: number; S: number; H: number; G: number; E: number } {
  const [B = 0, T = 0, H = 0, E = 0] = q.shape;
  const [, S = 0, G = 0] = k.shape;
  return { B, T, S, H, G, E };
}

function check(q: Aval, k: Aval, v: Aval, mask: Aval | undefined, { causal }: AttentionAttrs): void {
  const { B, T, S, H, G, E } = attentionSizes(q, k);
  const fits =
    q.shape.length === 4 &&
    k.shape.length === 4 &&
    show(k.shape) === show(v.shape) &&
    k.shape[0] === B &&
    k.shape[3] === E;
  if (!fits || H % G !== 0)
    throw new ShapeError(
      `attention: q ${show(q.shape)}, k ${show(k.shape)}, v ${show(v.shape)}: wants [B, T, H, E] and twice [B, S, G, E] with H a multiple of G.`,
    );
  if (causal && S < T) throw new ShapeError(`attention: ${T} causal queries need at least as many keys, not ${S}.`);
  if (mask !== undefined && show(mask.shape) !== show([B, S]))
    throw new ShapeError(`attention: the key mask ${show(mask.shape)} must be [${B}, ${S}].`);
}

/** Calls `visit` for every query head and every key it may see. */
function forEachScore(
  { inputs: [q, k], attrs: { causal, scale } }: { readonly inputs: readonly Aval[]; readonly attrs: AttentionAttrs },
  [qv, kv, mask]: readonly [Value, Value, Value | undefined],
  visit: (at: { row: number; q: number; k: number; s: number; score: number }) => void,
): void {
  const { B, T, S, H, G, E } = attentionSizes(q!, k!);
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++)
      for (let h = 0; h < H; h++) {
        const row = (b * T + t) * H + h;
        for (let s = 0; s < S; s++) {
          if ((causal && s > t + S - T) || mask?.[b * S + s] === 0) continue;
          const key = ((b * S + s) * G + Math.floor((h * G) / H)) * E;
          let score = 0;
          for (let e = 0; e < E; e++) score += qv[row * E + e]! * kv[key + e]!;
          visit({ row, q: row * E, k: key, s, score: score * scale });
        }
      }
}

const attentionOp: Op<AttentionAttrs> = {
  name: "attention",
  infer([q, k, v, mask], attrs) {
    check(q!, k!, v!, mask, attrs);
    return [
      { shape: q!.shape, dtype: "f32" },
      { shape: q!.shape.slice(0, 3), dtype: "f32" },
    ];
  },
  reference([q, k, v, mask], spec) {
    const E = spec.inputs[0]!.shape[3]!;
    const out = new Float64Array(q!.length);
    const peak = new Float64Array(q!.length / E).fill(-Infinity);
    const total = new Float64Array(q!.length / E);
    forEachScore(spec, [q!, k!, mask], ({ row, score }) => (peak[row] = Math.max(peak[row]!, score)));
    forEachScore(spec, [q!, k!, mask], ({ row, q: at, k: key, score }) => {
      const p = Math.exp(score - peak[row]!);
      total[row]! += p;
      for (let e = 0; e < E; e++) out[at + e]! += p * v![key + e]!;
    });
    // A query that sees no key attends to nothing: zeros, and a log-sum-exp of 0 so that its gradient is zero too.
    for (let i = 0; i < out.length; i++) out[i]! /= total[Math.floor(i / E)]! || 1;
    return [out, total.map((z, row) => (z === 0 ? 0 : Math.log(z) + peak[row]!))];
  },
  kernel: (spec, target) => attentionLowering(spec, target),
  vjp(c) {
    const [q, k, v] = [c.input(0), c.input(1), c.input(2)];
    const [out, lse, dout] = [c.output(0), c.output(1), c.cotangent(0)];
    const delta = sum(mul(dout, out), [-1]); // [B, T, H]
    const inputs = [q, k, v, lse, delta, dout, ...(c.node.inputs.length > 3 ? [c.input(3)] : [])];
    const [dk, dv] = c.needs(1) || c.needs(2) ? applyAll(attentionGradKVOp, inputs, c.attrs) : [null, null];
    return [c.needs(0) ? apply(attentionGradQOp, inputs, c.attrs) : null, dk ?? null, dv ?? null, null];
  },
};

// With p = exp(score − lse) and ds = p·(dout·v − delta): dq = scale·Σ ds·k, dk = scale·Σ ds·q, dv = Σ p·dout,
// where delta = Σₑ dout·out. @see Dao et al. 2022, Algorithm 4.
const attentionGradQOp: Op<AttentionAttrs> = {
  name: "attentionGradQ",
  infer: ([q]) => [q!],
  reference([q, k, v, lse, delta, dout, mask], spec) {
    const E = spec.inputs[0]!.shape[3]!;
    const dq = new Float64Array(q!.length);
    forEachScore(spec, [q!, k!, mask], ({ row, q: at, k: key, score }) => {
      let dp = 0;
      for (let e = 0; e < E; e++) dp += dout![at + e]! * v![key + e]!;
      const ds = Math.exp(score - lse![row]!) * (dp - delta![row]!) * spec.attrs.scale;
      for (let e = 0; e < E; e++) dq[at + e]! += ds * k![key + e]!;
    });
    return [dq];
  },
  kernel: (spec, target) => attentionGradQLowering(spec, target),
};

const attentionGradKVOp: Op<AttentionAttrs> = {
  name: "attentionGradKV",
  infer: ([, k, v]) => [k!, v!],
  reference([q, k, v, lse, delta, dout, mask], spec) {
    const E = spec.inputs[0]!.shape[3]!;
    const [dk, dv] = [new Float64Array(k!.length), new Float64Array(v!.length)];
    forEachScore(spec, [q!, k!, mask], ({ row, q: at, k: key, score }) => {
      const p = Math.exp(score - lse![row]!);
      let dp = 0;
      for (let e = 0; e < E; e++) dp += dout![at + e]! * v![key + e]!;
      const ds = p * (dp - delta![row]!) * spec.attrs.scale;
      for (let e = 0; e < E; e++) {
        dk[key + e]! += ds * q![at + e]!;
        dv[key + e]! += p * dout![at + e]!;
      }
    });
    return [dk, dv];
  },
  kernel: (spec, target) => attentionGradKVLowering(spec, target),
};

/**
 * Attention: softmax(scale · q kᵀ) v for every head; query head h reads key head ⌊h·G/H⌋.
 *
 * q [B, T, H, E], k and v [B, S, G, E], key mask [B, S] (0 hides a key) or null → [B, T, H, E]. Heads stand next to their
 * width, as a projection makes them, so nothing is transposed.
 * @see Vaswani et al. 2017, §3.2; Ainslie et al. 2023 (grouped queries); Dao 2023 (never writing the scores).
 */
export const attention = (q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null, attrs: AttentionAttrs): Tensor =>
  applyAll(attentionOp, mask === null ? [q, k, v] : [q, k, v, mask], attrs)[0]!;
