/** @file Lowers attention and its gradients: one dispatch each, by subgroups on a CPU adapter and by shared tiles on a GPU. */
import type { AttentionAttrs } from "../ops/attention.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import type { Aval } from "../shape.ts";
import { LANES_WIDEST, lanesFamily } from "./attention-lanes.ts";
import type { AttentionFamily, AttentionText } from "./attention-text.ts";
import { tilesFamily } from "./attention-tiles.ts";
import { grid, input, output } from "./kernel.ts";
import type { Target } from "./target.ts";
import { type Binding, bytesOf, checkBindings, dispatch, float } from "./wgsl.ts";

/** One of the three kernels, apart from its text. */
interface AttentionKernel {
  readonly label: string;
  /** Names of the operands in the order of the op's inputs; the key mask, where there is one, follows. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Whose rows the workgroups share out. */
  readonly owns: "queries" | "keys";
  readonly code: (family: AttentionFamily) => string;
  /** Products of two matrices: each takes 2·E operations for a query and a key that it sees. */
  readonly products: number;
}

/** Operands with one float for each query, not E. */
const PER_QUERY: ReadonlySet<string> = new Set(["lse", "delta"]);

function lower(kernel: AttentionKernel, { inputs, outputs, attrs }: Spec<AttentionAttrs>, target: Target): Lowering {
  const { label, reads, writes, owns, code, products } = kernel;
  const [q, k] = inputs as readonly [Aval, Aval]; // `infer` saw to it
  const [B = 0, T = 0, H = 0, E = 0] = q.shape;
  const [, S = 0, G = 0] = k.shape;
  checkBindings(label, [...inputs, ...outputs], target);
  const text: AttentionText = { E, mask: inputs[reads.length]?.dtype ?? null };
  const rows = owns === "queries" ? T * (H / G) : S;
  const byLanes = target.family === "lanes" && E <= LANES_WIDEST;
  const family = byLanes ? lanesFamily(text, target.subgroup, rows) : tilesFamily(text);
  const type = (name: string): string =>
    PER_QUERY.has(name) ? "f32" : name === "mask" ? (text.mask ?? "") : family.row;
  const bindings: Binding[] = [
    ...inputs.map((_, i) => ({ name: reads[i] ?? "mask", operand: input(i) })),
    ...writes.map((name, i) => ({ name, operand: output(i) })),
  ].map((binding) => ({ ...binding, type: type(binding.name) }));
  // Of T·S pairs, causal attention leaves out those above the diagonal.
  const pairs = B * H * (T * S - (attrs.causal ? (T * (T - 1)) / 2 : 0));
  return {
    dispatches: [
      dispatch({
        label: `${label} ${byLanes ? "lanes" : "tiles"} ${E}`,
        bindings,
        sizes: { B, T, S, H, G, E, past: attrs.causal ? S - T : S, scale: float(attrs.scale) },
        workgroups: grid(B * G * Math.ceil(rows / family.block), target.maxWorkgroups),
        code: code(family),
        cost: { flops: 2 * E * products * pairs, bytes: [...inputs, ...outputs].reduce((n, t) => n + bytesOf(t), 0) },
      }),
    ],
  };
}

/** q [B, T, H, E], k and v [B, S, G, E], key mask [B, S] or none → out [B, T, H, E], lse [B, T, H]. */
export const attentionLowering = (spec: Spec<AttentionAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attention",
      reads: ["q", "k", "v"],
      writes: ["out", "lse"],
      owns: "queries",
      code: (family) => family.forward(),
      products: 2,
    },
    spec,
    target,
  );

/** q, k, v, lse, delta [B, T, H], dout [B, T, H, E], key mask or none → dq. */
export const attentionGradQLowering = (spec: Spec<AttentionAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attentionGradQ",
      reads: ["q", "k", "v", "lse", "delta", "dout"],
      writes: ["dq"],
      owns: "queries",
      code: (family) => family.gradQ(),
      products: 3,
    },
    spec,
    target,
  );

/** The same inputs → dk, dv: sums over all queries of the group, in order and within one workgroup. */
export const attentionGradKVLowering = (spec: Spec<AttentionAttrs>, target: Target): Lowering =>
  lower(
    {
      label: "attentionGradKV",
      reads: ["q", "k", "v", "lse", "delta", "dout"],
      writes: ["dk", "dv"],
      owns: "keys",
      code: (family) => family.gradKV(),
      products: 4,
    },
    spec,
    target,
  );
