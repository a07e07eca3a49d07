/** @file Counter-based uniform noise: the same bits as `uniformAt`. */
import type { Lowering, Spec } from "../ops/op.ts";
import type { UniformAttrs } from "../ops/random.ts";
import { type Aval, sizeOf } from "../shape.ts";
import { input, output } from "./kernel.ts";
import type { Target } from "./target.ts";
import { checkBindings, dispatch, wgsl } from "./wgsl.ts";

const THREADS = 256;
const LANES_GROUPS = 32;

/** clock u32 [2] (seed, step) → noise in (0, 1); the key of the name travels with the sizes. */
export function uniformLowering({ outputs, attrs }: Spec<UniformAttrs>, target: Target): Lowering {
  const [y] = outputs as readonly [Aval]; // one output
  checkBindings("uniform", outputs, target);
  const count = sizeOf(y.shape);
  const groups = Math.ceil(count / 4 / THREADS);
  return {
    dispatches: [
      dispatch({
        label: "uniform",
        bindings: [
          { name: "clock", type: "u32", operand: input(0) },
          { name: "y", type: "f32", operand: output(0) },
        ],
        sizes: { count, key: attrs.key },
        workgroups: [Math.min(groups, target.family === "lanes" ? LANES_GROUPS : target.maxWorkgroups), 1, 1],
        code: wgsl`
          fn mix1(x: u32) -> u32 {
            let a = (x ^ (x >> 16u)) * 0x7feb352du;
            let b = (a ^ (a >> 15u)) * 0x846ca68bu;
            return b ^ (b >> 16u);
          }
          @compute @workgroup_size(${THREADS})
          fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
            let state = mix1(mix1(mix1(clock[0]) ^ clock[1]) ^ sizes.key);
            for (var i = id.x; i < sizes.count; i += groups.x * ${THREADS}u) {
              y[i] = (f32(mix1(state ^ i) >> 9u) + 0.5) * 0x1p-23f;
            }
          }`,
      }),
    ],
  };
}
