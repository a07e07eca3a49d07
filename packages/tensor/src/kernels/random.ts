/** @file Counter-based noise in WGSL: the same bits as `uniformAt`. */
import type { InlineContext, Lowering, Spec } from "../ops/op.ts";
import { input, output } from "./kernel.ts";
import { dispatch, wgsl } from "./wgsl.ts";

/** The mixing step of `uniformAt` as an expression; of vectors if `vector`. */
function mixed(x: string, vector: boolean): string {
  const u = (n: string): string => (vector ? `vec4u(${n})` : n);
  const a = `((${x}) ^ ((${x}) >> ${u("16u")})) * ${u("0x7feb352du")}`;
  const b = `((${a}) ^ ((${a}) >> ${u("15u")})) * ${u("0x846ca68bu")}`;
  return `((${b}) ^ ((${b}) >> ${u("16u")}))`;
}

/** Noise at an index, of a stream's state. */
export const uniformInline = (state: string, { type, index }: InlineContext): string => {
  const vector = type !== "f32";
  const bits = `${mixed(`${state} ^ ${index}`, vector)} >> ${vector ? "vec4u(9u)" : "9u"}`;
  return `((${type}(${bits}) + 0.5) * 0x1p-23f)`;
};

/** clock u32 [2] (seed, step) → the state of a name's stream, u32 []; the name's key travels with the sizes. */
export const streamLowering = ({ attrs: { key } }: Spec<{ readonly key: number }>): Lowering => ({
  dispatches: [
    dispatch({
      label: "stream",
      bindings: [
        { name: "clock", type: "u32", operand: input(0) },
        { name: "state", type: "u32", operand: output(0) },
      ],
      sizes: { key },
      workgroups: [1, 1, 1],
      code: wgsl`
        @compute @workgroup_size(1)
        fn main() {
          let seeded = ${mixed("clock[0]", false)};
          let stepped = ${mixed("seeded ^ clock[1]", false)};
          state[0] = ${mixed("stepped ^ sizes.key", false)};
        }`,
    }),
  ],
});
