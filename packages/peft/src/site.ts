/** @file Sites: the named, typed places of a forward pass where a method may attach. */
import type { Shape, Tensor } from "@graftml/tensor";

/** Projected, rotated heads on their way into attention. */
export interface Heads {
  /** [B, T, H, E] */
  readonly q: Tensor;
  /** [B, S, G, E]; H is a multiple of G. */
  readonly k: Tensor;
  /** [B, S, G, E] */
  readonly v: Tensor;
  /**
   * [B, S], 0 hides a key; null where no key is hidden. Where several texts share a row (`packed`), their numbers 1, 2, …:
   * a key is then seen by queries of its own number only, and one of number −1 by all.
   */
  readonly mask: Tensor | null;
  /** Query t sees keys 0 … t + S − T. */
  readonly causal: boolean;
  /** Whether `mask` holds numbers of texts; default false. */
  readonly packed?: boolean;
  /**
   * What is added to the scores, given the number of keys S that reach the softmax: [1 or B, H, T, S]. A function, because
   * keys may join on the way there; they stand first, so the last keys are the model's own.
   */
  readonly bias?: ((keys: number) => Tensor) | null;
}

/** The add around a sublayer. */
export interface Residual {
  /** What is added to: in pre-norm models the un-normed stream. [B, T, D] */
  readonly skip: Tensor;
  /** The sublayer's output. [B, T, D] */
  readonly branch: Tensor;
  /** Applied after the add in post-norm models (BERT), else null. */
  readonly norm: ((h: Tensor) => Tensor) | null;
}

/** Everywhere a method may attach. Closed on purpose: a new kind is a change to the contract. */
export interface Kinds {
  /** A named base parameter. `next()` is what is stored, or what inner methods made of it. */
  readonly param: { readonly input: void; readonly output: Tensor };
  /** y = x Wᵀ + b. x [..., in] → y [..., out] */
  readonly linear: { readonly input: Tensor; readonly output: Tensor };
  /** The token table: ids i32 [B, T] → [B, T', D], T' ≥ T; the real tokens are the last T rows. Positions are added after it, for T' rows. */
  readonly embedding: { readonly input: Tensor; readonly output: Tensor };
  /** Position ids i32 [B or 1, T], as used by learned and rotary positions. A prefix of n shifts them by n, as a cached past does. */
  readonly positions: { readonly input: Tensor; readonly output: Tensor };
  /** Attention over heads → [B, T, H, E]. */
  readonly attention: { readonly input: Heads; readonly output: Tensor };
  /**
   * The add around a sublayer, role "attn" | "cross" | "mlp" → [B, T, D]. Its input comes out of the sublayer: the innermost
   * method meets it first, then the next one outwards, then the add.
   */
  readonly residual: { readonly input: Residual; readonly output: Tensor };
  /** Any map of hidden states [B, T, D], role "embed" | "block" | "unembed". */
  readonly layer: { readonly input: Tensor; readonly output: Tensor };
}

export type Kind = keyof Kinds;

/** The rest of the onion: inner methods, then what the model does. */
export type Next<K extends Kind> = (input: Kinds[K]["input"]) => Kinds[K]["output"];

/** What a model says of a site when it gets there. */
export interface SiteSpec {
  /**
   * What the place is, whatever the model calls it: "attn.q", "attn.k", "attn.v", "attn.o", "mlp.gate", "mlp.up", "mlp.down",
   * "unembed", "attn", "cross", "mlp", "block", "embed", "weight", "bias", "norm", "pooler", "transform" (what stands between
   * an encoder and its output embedding), and "head": a task's own output layer, which starts from random values and is trained
   * with every method. Cross-attention has "cross.q" and so on. What serves as several things carries all of their roles: a
   * fused projection, a token table that is the head's weight too.
   */
  readonly roles: readonly string[];
  /** Features in; for `attention` the width of one key head. 0 where it has no meaning. */
  readonly in?: number;
  /** Features out; for `attention` the number of key heads. 0 where it has no meaning. */
  readonly out?: number;
  /** Shape of a parameter; [] elsewhere. */
  readonly shape?: Shape;
  /** `linear`, `embedding`: full name of the weight it uses, where that is not `path.weight` (a tied head, a shared table). */
  readonly weight?: string;
  /** `embedding`: what rows of its table are multiplied by; default 1. */
  readonly factor?: number;
  /** `linear`: whether it has a bias. */
  readonly bias?: boolean;
  /** `linear`: Hugging Face stores this weight as [in, out] (GPT-2's Conv1D). In memory it is [out, in] like all others. */
  readonly transposed?: boolean;
}

/** A named, typed place of a forward pass. */
export interface Site<K extends Kind = Kind> extends Required<Omit<SiteSpec, "weight">> {
  readonly kind: K;
  /** Hugging Face's module path, "model.layers.0.self_attn.q_proj"; for `param` the key of the state dict. */
  readonly path: string;
  /** First number in the path: the block it belongs to, or null. */
  readonly layer: number | null;
  /** `linear`, `embedding`: key of the weight in the state dict; "" elsewhere. */
  readonly weight: string;
}

/** A site from what the model says of it. */
export function siteOf<K extends Kind>(kind: K, path: string, spec: SiteSpec): Site<K> {
  const layer = /(?:^|\.)(\d+)(?:\.|$)/.exec(path)?.[1];
  return {
    kind,
    path,
    roles: spec.roles,
    layer: layer === undefined ? null : Number(layer),
    in: spec.in ?? 0,
    out: spec.out ?? 0,
    shape: spec.shape ?? [],
    weight: kind === "linear" || kind === "embedding" ? (spec.weight ?? `${path}.weight`) : "",
    factor: spec.factor ?? 1,
    bias: spec.bias ?? false,
    transposed: spec.transposed ?? false,
  };
}
