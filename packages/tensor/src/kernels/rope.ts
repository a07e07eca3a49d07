/** @file Rotary positions: a thread turns one pair of elements, or four pairs, of a head. */
import type { Lowering, Spec } from "../ops/op.ts";
import type { RopeAttrs } from "../ops/rope.ts";
import { input, output } from "./kernel.ts";
import type { Target } from "./target.ts";
import { bytesOf, checkBindings, dispatch, eachItem, float, itemGroups, wgsl } from "./wgsl.ts";

/** x [B, T, H, E], positions [B or 1, T], table [P, R] → x with the first R elements of every head turned. */
export function ropeLowering({ inputs, outputs, attrs }: Spec<RopeAttrs>, target: Target): Lowering {
  checkBindings("rope", [...inputs, ...outputs], target);
  const [x, positions, table] = inputs;
  const [B = 1, T = 1, H = 1, E = 1] = x?.shape ?? [];
  const [P = 1, R = 0] = table?.shape ?? [];
  const unit = E % 4 === 0 && R % 8 === 0 ? 4 : 1;
  const type = unit === 4 ? "vec4f" : "f32";
  const [half, rest] = [R / 2 / unit, (E - R) / unit];
  const count = B * T * H * (half + rest);
  return {
    dispatches: [
      dispatch({
        label: "rope",
        bindings: [
          { name: "x", type, operand: input(0) },
          { name: "positions", type: "i32", operand: input(1) },
          { name: "angles", type, operand: input(2) },
          { name: "y", type, operand: output(0) },
        ],
        sizes: {
          count,
          half,
          rest,
          heads: H,
          // All positions, or one row of them for every sequence.
          positions: positions?.shape[0] === 1 ? T : B * T,
          last: P - 1,
          sign: float(attrs.inverse ? -1 : 1),
        },
        workgroups: itemGroups(count, target),
        cost: { flops: 6 * B * T * H * (R / 2), bytes: [...inputs, ...outputs].reduce((n, t) => n + bytesOf(t), 0) },
        code: eachItem(wgsl`
          let items = sizes.half + sizes.rest;
          let head = i / items;
          let pair = i % items;
          let a = head * (items + sizes.half) + pair;
          let b = a + sizes.half;
          if (pair >= sizes.half) {
            y[b] = x[b];
            continue;
          }
          let position = u32(clamp(positions[head / sizes.heads % sizes.positions], 0, i32(sizes.last)));
          let angle = position * 2u * sizes.half + pair;
          let cosine = angles[angle];
          let sine = angles[angle + sizes.half] * sizes.sign;
          let xa = x[a];
          let xb = x[b];
          y[a] = xa * cosine - xb * sine;
          y[b] = xb * cosine + xa * sine;`),
      }),
    ],
  };
}
