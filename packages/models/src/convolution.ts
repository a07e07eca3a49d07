/** @file A convolution along the rows of a text, as a product. @see torch `Conv1d` */
import { concat, fill, linear, reshape, slice, type Tensor, transpose } from "@graftml/tensor";

/**
 * y[t] = Σᵢ x[t + i − (K − 1) / 2] · weight[:, :, i]ᵀ + bias, rows beyond the ends being zero.
 *
 * x [B, T, in], weight [out, in, K] with an odd K, bias [out] → [B, T, out].
 */
export function convolve(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const [B = 0, T = 0, D = 0] = x.shape;
  const [out = 0, , K = 0] = weight.shape;
  const beyond = fill(x.node.trace, [B, (K - 1) / 2, D], 0);
  const longer = K === 1 ? x : concat([beyond, x, beyond], 1); // [B, T + K − 1, in]
  const seen = Array.from({ length: K }, (_, i) => slice(longer, 1, i, T));
  return linear(concat(seen, 2), reshape(transpose(weight, [0, 2, 1]), [out, K * D]), bias);
}
