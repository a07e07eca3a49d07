/** @file Hard-concrete gates: random numbers in [0, 1] that are often exactly 0 or 1, and differentiable between. */
import { add, clamp, log, scale, shift, sigmoid, sub, type Tensor } from "@graftml/tensor";

/** How far a gate's sigmoid is stretched beyond 0 and 1 before it is cut off there. */
export interface Stretch {
  /** Below 0. */
  readonly left: number;
  /** Above 1. */
  readonly right: number;
}

/**
 * A gate: z = clamp(s · (right − left) + left, 0, 1) with s = σ(α), or σ(log u − log(1 − u) + α) of uniform noise u.
 * @see Louizos et al. 2018, https://arxiv.org/abs/1712.01312, §3.
 */
export function gate(alpha: Tensor, noise: Tensor | null, { left, right }: Stretch): Tensor {
  const u = noise && clamp(noise, EDGE, 1 - EDGE);
  const logits = u === null ? alpha : add(alpha, sub(log(u), log(shift(scale(u, -1), 1))));
  return clamp(shift(scale(sigmoid(logits), right - left), left), 0, 1);
}

/** Noise keeps this far from 0 and 1, where logarithms end. */
const EDGE = 1e-4;

/** The probability that a gate is not 0: σ(α − log(−left / right)). */
export const open = (alpha: Tensor, { left, right }: Stretch): Tensor =>
  sigmoid(shift(alpha, -Math.log(-left / right)));

/** A gate without noise, on the host. */
export const gateOf = (alpha: number, { left, right }: Stretch): number =>
  Math.min(1, Math.max(0, (1 / (1 + Math.exp(-alpha))) * (right - left) + left));
