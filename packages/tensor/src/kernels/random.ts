/** @file Counter-based noise in WGSL: the same bits as `uniformAt`. */
import type { InlineContext, Lowering, Spec } from "../ops/op.ts";
import { input, output } from "./kernel.ts";
import { dispatch, float, type Size, wgsl } from "./wgsl.ts";

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

type Stream = Spec<{ readonly key: number }>;

/** clock u32 [2] (seed, step) → the state of a name's stream; the name's key travels with the sizes. */
const lowerStream = ({ attrs: { key } }: Stream, type: string, store: string): Lowering => ({
  dispatches: [
    dispatch({
      label: "stream",
      bindings: [
        { name: "clock", type: "u32", operand: input(0) },
        { name: "state", type, operand: output(0) },
      ],
      sizes: { key },
      workgroups: [1, 1, 1],
      code: wgsl`
        @compute @workgroup_size(1)
        fn main() {
          let seeded = ${mixed("clock[0]", false)};
          let stepped = ${mixed("seeded ^ clock[1]", false)};
          let keyed = ${mixed("stepped ^ sizes.key", false)};
          ${store}
        }`,
    }),
  ],
});

/** → u32 [] */
export const streamLowering = (spec: Stream): Lowering => lowerStream(spec, "u32", "state[0] = keyed;");

/** → f32 [2], the upper and the lower 16 bits. */
export const streamHalvesLowering = (spec: Stream): Lowering =>
  lowerStream(spec, "f32", "state[0] = f32(keyed >> 16u); state[1] = f32(keyed & 0xffffu);");

/**
 * Declares `keep(state, index)` for kernels that drop weights: 0 where number `index` of a stream is below the probability,
 * else `sizes.rescale`. With vectors of four indices it gives four floats.
 */
export const keepFunction = (vector: boolean): string => {
  const [u, f] = vector ? ["vec4u", "vec4f"] : ["u32", "f32"];
  return wgsl`
    fn keep(state: u32, index: ${u}) -> ${f} {
      let x = ${u}(state) ^ index;
      return select(${f}(), ${f}(sizes.rescale), (${mixed("x", vector)} >> ${vector ? "vec4u(9u)" : "9u"}) >= ${u}(sizes.dropped));
    }`;
};

/** The sizes that `keep` reads. Of 2²³ equally likely numbers (n + ½) / 2²³ those with n < dropped are below p. */
export const keepSizes = (p: number): Record<"dropped" | "rescale", Size> => ({
  dropped: Math.ceil(p * 2 ** 23 - 0.5),
  rescale: float(1 / (1 - p)),
});
