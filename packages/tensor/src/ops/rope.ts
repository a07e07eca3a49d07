/** @file Rotary positions. */

import { ShapeError } from "../errors.ts";
import { ropeLowering } from "../kernels/rope.ts";
import { show } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import type { Op } from "./op.ts";

export interface RopeAttrs {
  /** Rotate by the negative angle: the gradient. */
  readonly inverse: boolean;
}

const ropeOp: Op<RopeAttrs> = {
  name: "rope",
  infer([x, positions, table]) {
    const [B, T, , E] = x!.shape;
    const [, R] = table!.shape;
    const [pb, pt] = positions!.shape;
    if (
      x!.shape.length !== 4 ||
      pt !== T ||
      (pb !== B && pb !== 1) ||
      R! > E! ||
      R! % 2 !== 0 ||
      positions!.dtype !== "i32"
    )
      throw new ShapeError(
        `rope: x ${show(x!.shape)}, positions ${positions!.dtype} ${show(positions!.shape)}, table ${show(table!.shape)}: wants [B, T, H, E], i32 [B or 1, T] and [P, R] with an even R ≤ E.`,
      );
    return [{ shape: x!.shape, dtype: "f32" }];
  },
  reference([x, positions, table], { attrs: { inverse }, inputs: [ax, ap, at] }) {
    const [B, T, H, E] = ax!.shape as [number, number, number, number];
    const [P, R] = at!.shape as [number, number];
    const half = R / 2;
    const y = x!.slice();
    for (let b = 0; b < B; b++)
      for (let t = 0; t < T; t++) {
        const position = Math.min(Math.max(positions![(ap!.shape[0] === 1 ? 0 : b) * T + t]!, 0), P - 1);
        for (let h = 0; h < H; h++)
          for (let i = 0; i < half; i++) {
            const cos = table![position * R + i]!;
            const sin = table![position * R + half + i]! * (inverse ? -1 : 1);
            const at0 = ((b * T + t) * H + h) * E + i;
            y[at0] = x![at0]! * cos - x![at0 + half]! * sin;
            y[at0 + half] = x![at0 + half]! * cos + x![at0]! * sin;
          }
      }
    return [y];
  },
  kernel: (spec, target) => ropeLowering(spec, target),
  vjp: (c) => [
    c.needs(0) ? apply(ropeOp, [c.cotangent(0), c.input(1), c.input(2)], { inverse: !c.attrs.inverse }) : null,
    null,
    null,
  ],
};

/**
 * Rotary positions, halves rotated against each other: (a, b) → (a cos − b sin, b cos + a sin) for the two halves a, b of
 * the first R elements of every head; the rest passes.
 *
 * x [B, T, H, E], positions i32 [B or 1, T], table [P, R] (cosines in the first half of a row, sines in the second) →
 * [B, T, H, E]. Positions are clamped to 0 … P − 1.
 * @see Su et al. 2021, §3.4.2; HF `apply_rotary_pos_emb`.
 */
export const rope = (x: Tensor, positions: Tensor, table: Tensor): Tensor =>
  apply(ropeOp, [x, positions, table], { inverse: false });
