/** @file Lowers attention and its gradients: one dispatch each, by subgroups on a CPU adapter and by shared tiles on a GPU. */
import { attentionSizes, type Extra, type PairAttrs, sideLayout, sideSizes } from "../ops/attention-pairs.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import type { Aval } from "../shape.ts";
import { LANES_WIDEST, lanesFamily } from "./attention-lanes.ts";
import type { AttentionFamily, AttentionText } from "./attention-text.ts";
import { tilesFamily } from "./attention-tiles.ts";
import { type Dispatch, grid, input, output } from "./kernel.ts";
import { keepSizes } from "./random.ts";
import { each, lowerRows } from "./rows.ts";
import type { Target } from "./target.ts";
import { type Binding, bytesOf, checkBindings, dispatch, eachItem, float, itemGroups, wgsl } from "./wgsl.ts";

/** One of the kernels, apart from its text. */
interface AttentionKernel {
  readonly label: string;
  /** Names of the operands in the order of the op's inputs. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Whose rows the workgroups share out. */
  readonly owns: "queries" | "keys";
  readonly code: (family: AttentionFamily) => string;
  /** Products of two matrices: each takes 2·E operations for a query and a key that it sees. */
  readonly products: number;
}

/** Operands with E floats for each row. */
const WIDE: ReadonlySet<string> = new Set(["q", "k", "v", "out", "dout", "dq", "dk", "dv"]);

function lower(kernel: AttentionKernel, { inputs, outputs, attrs }: Spec<PairAttrs>, target: Target): Lowering {
  const { label, reads, writes, owns, code, products } = kernel;
  const sizes = attentionSizes(inputs[0] as Aval, inputs[1] as Aval); // q and k come first
  const { B, T, S, H, G, E } = sizes;
  const { causal, scale, packed, drop, extras } = attrs;
  checkBindings(label, [...inputs, ...outputs], target);
  const has = (extra: Extra): boolean => extras.includes(extra);
  const side = reads.includes("side");
  const text: AttentionText = { E, mask: has("mask"), packed, bias: has("bias"), noise: has("noise"), side };
  const rows = owns === "queries" ? T * (H / G) : S;
  const byLanes = target.family === "lanes" && E <= LANES_WIDEST;
  const family = byLanes ? lanesFamily(text, target.subgroup, rows) : tilesFamily(text);
  const maskType = inputs[reads.indexOf("mask")]?.dtype ?? "f32";
  const type = (name: string): string => (WIDE.has(name) ? family.row : name === "mask" ? maskType : "f32");
  const bindings: Binding[] = [
    ...reads.map((name, i) => ({ name, operand: input(i) })),
    ...writes.map((name, i) => ({ name, operand: output(i) })),
  ].map((binding) => ({ ...binding, type: type(binding.name) }));
  const biasBatches = inputs[reads.indexOf("bias")]?.shape[0] ?? 1;
  // A bias that all rows of the batch share has one gradient, which a workgroup adds up.
  const batches = writes.includes("dbias") ? biasBatches : B;
  const { delta, mask, noise } = sideLayout(sizes, extras);
  // Of T·S pairs, causal attention leaves out those above the diagonal.
  const pairs = B * H * (T * S - (causal ? (T * (T - 1)) / 2 : 0));
  return {
    dispatches: [
      dispatch({
        label: `${label} ${byLanes ? "lanes" : "tiles"} ${E}`,
        bindings,
        sizes: {
          ...sizes,
          past: causal ? S - T : S,
          scale: float(scale),
          batches,
          ...(text.bias && { biasStep: biasBatches === 1 ? 0 : 1 }),
          ...(text.noise && keepSizes(drop)),
          ...(side && { delta, mask, noise }),
        },
        workgroups: grid(batches * G * Math.ceil(rows / family.block), target.maxWorkgroups),
        code: code(family),
        cost: { flops: 2 * E * products * pairs, bytes: [...inputs, ...outputs].reduce((n, t) => n + bytesOf(t), 0) },
      }),
    ],
  };
}

/** q [B, T, H, E], k and v [B, S, G, E], extras → out [B, T, H, E], lse [B, T, H]. */
export const attentionLowering = (spec: Spec<PairAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attention",
      reads: ["q", "k", "v", ...spec.attrs.extras],
      writes: ["out", "lse"],
      owns: "queries",
      code: (family) => family.forward(),
      products: 2,
    },
    spec,
    target,
  );

const gradReads = ({ attrs: { extras } }: Spec<PairAttrs>): readonly string[] => {
  const bias = extras.includes("bias") ? ["bias"] : [];
  return ["q", "k", "v", "dout", "side", ...bias];
};

/** q, k, v, dout, side, bias or none → dq. */
export const attentionGradQLowering = (spec: Spec<PairAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attentionGradQ",
      reads: gradReads(spec),
      writes: ["dq"],
      owns: "queries",
      code: (family) => family.gradQ(),
      products: 3,
    },
    spec,
    target,
  );

/** The same inputs → dk, dv: sums over all queries of the group, in order and within one workgroup. */
export const attentionGradKVLowering = (spec: Spec<PairAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attentionGradKV",
      reads: gradReads(spec),
      writes: ["dk", "dv"],
      owns: "keys",
      code: (family) => family.gradKV(),
      products: 4,
    },
    spec,
    target,
  );

/** The same inputs → dbias, in the shape of the bias. */
export const attentionGradBiasLowering = (spec: Spec<PairAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attentionGradBias",
      reads: gradReads(spec),
      writes: ["dbias"],
      owns: "queries",
      code: (family) => family.gradBias(),
      products: 2,
    },
    spec,
    target,
  );

/** out, dout, lse, mask and noise where there are some → the side operand: delta is computed, the others are copied. */
export function attentionSideLowering({ inputs, outputs, attrs }: Spec<PairAttrs>, target: Target): Lowering {
  const [out, dout, lse] = inputs as readonly [Aval, Aval, Aval]; // the op has three, and the extras
  const [side] = outputs as readonly [Aval];
  const sizes = sideSizes(inputs, attrs.extras);
  const { delta, mask, noise } = sideLayout(sizes, attrs.extras);
  const narrow = lowerRows(
    {
      label: "attentionSide",
      rows: delta,
      width: sizes.E,
      operands: [
        { name: "y", type: "V", aval: out, operand: input(0) },
        { name: "dy", type: "V", aval: dout, operand: input(1) },
        { name: "lse", type: "f32", aval: lse, operand: input(2) },
        { name: "side", type: "f32", aval: side, operand: output(0) },
      ],
      body: () => wgsl`
        var product = V();
        ${each("product += y[at] * dy[at];")}
        let delta = all(lane, product);
        if (lane == 0u) {
          side[row] = lse[row];
          side[sizes.rows + row] = delta;
        }`,
    },
    target,
  );
  const copies = attrs.extras
    .filter((name) => name !== "bias")
    .map((name, i) => copyInto(name === "mask" ? mask : noise, { aval: inputs[3 + i] as Aval, index: 3 + i }, target)); // they follow lse
  return { dispatches: [narrow, ...copies] };
}

/** Copies input `index` to the side operand, as floats, from element `start` on. */
function copyInto(
  start: number,
  { aval, index }: { readonly aval: Aval; readonly index: number },
  target: Target,
): Dispatch {
  const count = bytesOf(aval) / 4; // f32 or i32
  return dispatch({
    label: "attentionSide copy",
    bindings: [
      { name: "x", type: aval.dtype, operand: input(index) },
      { name: "side", type: "f32", operand: output(0) },
    ],
    sizes: { start, count },
    workgroups: itemGroups(count, target),
    code: eachItem("side[sizes.start + i] = f32(x[i]);"),
  });
}
