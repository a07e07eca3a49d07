/** @file What the tiny models have in common: sites as every family has them. */
import type { Heads, ModelInfo, Residual, Scope, SiteSpec } from "@graftml/peft";
import { add, attention, cast, concat, fill, gather, scale, type Tensor } from "@graftml/tensor";

/** How large a tiny model is. */
export interface Sizes {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly inner: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly layers: number;
  readonly positions: number;
}

/** Large enough to tell mistakes apart, small enough to train in the interpreter. */
export const tiny: Sizes = { vocabulary: 13, hidden: 8, inner: 12, heads: 4, keyHeads: 2, layers: 2, positions: 16 };

/** A model's description; a decoder that predicts tokens unless said otherwise. */
export const infoOf = (type: string, architecture: string, c: Sizes, more: Partial<ModelInfo> = {}): ModelInfo => ({
  type,
  architecture,
  task: "causal-lm",
  labels: 0,
  layers: c.layers,
  hidden: c.hidden,
  heads: c.heads,
  keyHeads: c.keyHeads,
  headWidth: c.hidden / c.heads,
  vocabulary: c.vocabulary,
  maxLength: c.positions,
  config: {},
  ...more,
});

/** A map of hidden states behind its site. [B, T, D] → [B, T, D] */
export const layer = (s: Scope, role: string, h: Tensor, body: (h: Tensor) => Tensor): Tensor => {
  const width = h.shape.at(-1) ?? 0;
  return s.call("layer", { roles: [role], in: width, out: width }, h, body);
};
/** The token table, whose rows are multiplied by `factor`; tied, it is the head's weight as well. */
export const embedding = (s: Scope, ids: Tensor, { vocabulary, hidden }: Sizes, tied: boolean, factor = 1): Tensor =>
  s.call("embedding", { roles: ["embed"], in: vocabulary, out: hidden, factor }, ids, (x) => {
    const found = gather(s.param("weight", [vocabulary, hidden], ["weight", "embed", ...(tied ? ["unembed"] : [])]), x);
    return factor === 1 ? found : scale(found, factor);
  });
/** norm(skip + branch) behind its site; skip + branch where there is no norm. [B, T, D] */
export const residual = (
  s: Scope,
  role: string,
  skip: Tensor,
  branch: Tensor,
  norm: Residual["norm"] = null,
): Tensor => {
  const width = skip.shape.at(-1) ?? 0;
  return s.call("residual", { roles: [role], in: width, out: width }, { skip, branch, norm }, (r) => {
    const sum = add(r.skip, r.branch);
    return r.norm === null ? sum : r.norm(sum);
  });
};
/** softmax(scale · q kᵀ + bias) v behind the site of attention; scale is 1/√E unless given. → [B, T, H, E] */
export function attend(
  s: Scope,
  heads: Heads,
  { role = "attn", scale }: { readonly role?: "attn" | "cross"; readonly scale?: number } = {},
): Tensor {
  const [, , G = 0, E = 0] = heads.k.shape;
  const attrs = { scale: scale ?? 1 / Math.sqrt(E) };
  return s.call("attention", { roles: [role], in: E, out: G }, heads, ({ q, k, v, mask, causal, bias }) =>
    attention(q, k, v, mask, { ...attrs, causal }, bias?.(k.shape[1] ?? 0) ?? null),
  );
}
/** The mask for the rows of h, of which those before the tokens are never hidden: [B, T'] */
export function keyMask(mask: Tensor, h: Tensor): Tensor {
  const [B = 0, T = 0] = h.shape;
  const extra = T - (mask.shape[1] ?? 0);
  return extra === 0 ? mask : concat([fill(mask.node.trace, [B, extra], 1), mask], 1);
}
/** Position ids of the rows of h, i32 [1, T]. */
export const positions = (s: Scope, h: Tensor): Tensor => {
  const T = h.shape[1] ?? 0;
  const row = s.trace.constant(`rows ${T}`, [1, T], () => Float32Array.from({ length: T }, (_, i) => i));
  return s.call("positions", { roles: ["positions"] }, cast(row, "i32"), (p) => p);
};

/** Logits from hidden states, behind the site of the head. */
export const unembed = (scope: Scope, h: Tensor, V: number, weight: Pick<SiteSpec, "weight">): Tensor =>
  scope.at("lm_head").linear(h, { roles: ["unembed"], in: h.shape.at(-1) ?? 0, out: V, ...weight });
