/**
 * @file The gradients of attention, from q, k, v, dout and a side operand that holds all narrow values.
 *
 * With w = keep·exp(score − lse), dp = dout·v, delta = Σₑ dout·out and ds = w·dp − exp(score − lse)·delta:
 * dq = scale·Σ ds·k, dk = scale·Σ ds·q, dv = Σ w·dout, dbias = ds.
 * @see Dao et al. 2022, Algorithm 4 (and Algorithm 2 for dropout).
 */
import {
  attentionGradBiasLowering,
  attentionGradKVLowering,
  attentionGradQLowering,
  attentionSideLowering,
} from "../kernels/attention.ts";
import { attentionSizes, forEachPair, type Pair, type PairAttrs, sideLayout, sideSizes } from "./attention-pairs.ts";
import type { Op, Spec, Value } from "./op.ts";

/** out, dout [B, T, H, E], lse [B, T, H], mask and noise where there are some → the side operand of the others. */
export const attentionSideOp: Op<PairAttrs> = {
  name: "attentionSide",
  infer: (inputs, { extras }) => [{ shape: [sideLayout(sideSizes(inputs, extras), extras).length], dtype: "f32" }],
  reference([out, dout, lse, ...rest], { inputs, attrs: { extras } }) {
    const sizes = sideSizes(inputs, extras);
    const { delta, mask, length } = sideLayout(sizes, extras);
    const side = new Float64Array(length);
    side.set(lse!);
    out!.forEach((x, i) => (side[delta + Math.floor(i / sizes.E)]! += x * dout![i]!));
    let at = mask;
    for (const values of rest) {
      side.set(values, at);
      at += values.length;
    }
    return [side];
  },
  kernel: (spec, target) => attentionSideLowering(spec, target),
};

/** Calls `visit` for every pair with its weight p, without and with dropout, and its ds, which is the gradient of its score. */
function forEachSlope(
  [q, k, v, dout, side, bias]: readonly Value[],
  spec: Spec<PairAttrs>,
  visit: (pair: Pair & { readonly weight: number; readonly ds: number }) => void,
): void {
  const { extras } = spec.attrs;
  const sizes = attentionSizes(spec.inputs[0]!, spec.inputs[1]!);
  const { delta, mask, noise } = sideLayout(sizes, extras);
  const has = (extra: "mask" | "noise"): boolean => extras.includes(extra);
  const values = {
    q: q!,
    k: k!,
    bias,
    mask: has("mask") ? side!.subarray(mask, noise) : undefined,
    noise: has("noise") ? side!.subarray(noise) : undefined,
  };
  forEachPair(spec, values, (pair) => {
    let dp = 0;
    for (let e = 0; e < sizes.E; e++) dp += dout![pair.q + e]! * v![pair.k + e]!;
    const p = Math.exp(pair.score - side![pair.row]!);
    visit({ ...pair, weight: p * pair.keep, ds: p * (pair.keep * dp - side![delta + pair.row]!) });
  });
}

/** q, k, v, dout, side, bias if there is one → dq. */
export const attentionGradQOp: Op<PairAttrs> = {
  name: "attentionGradQ",
  infer: ([q]) => [q!],
  reference(inputs, spec) {
    const [q, k] = inputs;
    const E = spec.inputs[0]!.shape[3]!;
    const dq = new Float64Array(q!.length);
    forEachSlope(inputs, spec, ({ q: at, k: key, ds }) => {
      for (let e = 0; e < E; e++) dq[at + e]! += ds * spec.attrs.scale * k![key + e]!;
    });
    return [dq];
  },
  kernel: (spec, target) => attentionGradQLowering(spec, target),
};

/** The same → dk, dv. */
export const attentionGradKVOp: Op<PairAttrs> = {
  name: "attentionGradKV",
  infer: ([, k, v]) => [k!, v!],
  reference(inputs, spec) {
    const [q, k, , dout] = inputs;
    const E = spec.inputs[0]!.shape[3]!;
    const [dk, dv] = [new Float64Array(k!.length), new Float64Array(k!.length)];
    forEachSlope(inputs, spec, ({ q: at, k: key, weight, ds }) => {
      for (let e = 0; e < E; e++) {
        dk[key + e]! += ds * spec.attrs.scale * q![at + e]!;
        dv[key + e]! += weight * dout![at + e]!;
      }
    });
    return [dk, dv];
  },
  kernel: (spec, target) => attentionGradKVLowering(spec, target),
};

/** The same, with a bias → its gradient, [1 or B, H, T, S]: the only one that is as large as the scores. */
export const attentionGradBiasOp: Op<PairAttrs> = {
  name: "attentionGradBias",
  infer: (inputs) => [inputs[5]!],
  reference(inputs, spec) {
    const dbias = new Float64Array(inputs[5]!.length);
    forEachSlope(inputs, spec, ({ bias, ds }) => (dbias[bias]! += ds));
    return [dbias];
  },
  kernel: (spec, target) => attentionGradBiasLowering(spec, target),
};
