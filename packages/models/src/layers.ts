/** @file Layers on scopes: each names its parameters as Hugging Face does and goes through the sites that methods wrap. */
import type { BatchSize, Heads, Residual, Scope, TokenBatch } from "@graftml/peft";
import {
  add,
  attention,
  cast,
  concat,
  fill,
  gather,
  gelu,
  geluErf,
  layerNorm as layerNormOp,
  relu,
  reshape,
  rmsNorm as rmsNormOp,
  scale,
  ShapeError,
  shift,
  show,
  silu,
  tanh,
  type Tensor,
  type Trace,
} from "@graftml/tensor";

/** Activation functions by Hugging Face's names. */
export const activations = {
  silu,
  swish: silu,
  gelu: geluErf,
  gelu_python: geluErf,
  gelu_new: gelu,
  gelu_pytorch_tanh: gelu,
  relu,
  tanh,
} as const satisfies Readonly<Record<string, (x: Tensor) => Tensor>>;

/** What a linear layer is besides its input and the place where it stands. */
export interface LinearOptions {
  /** Its roles, all of them where projections are fused: ["attn.q"]. */
  readonly roles: readonly string[];
  /** Features out. */
  readonly out: number;
  readonly bias: boolean;
  /** Full name of its weight where it is another layer's (a tied head). */
  readonly weight?: string;
  /** Whether files store the weight as [in, out]. */
  readonly transposed?: boolean;
}

/** y = x Wᵀ + b. x [..., in] → [..., out] */
export const linear = (s: Scope, x: Tensor, options: LinearOptions): Tensor =>
  s.linear(x, { ...options, in: x.shape.at(-1) ?? 0 });

/** Root-mean-square norm with the gain offset + `weight`. [..., D] → [..., D] */
export function rmsNorm(s: Scope, x: Tensor, eps: number, { offset = 0 } = {}): Tensor {
  const gain = s.param("weight", x.shape.slice(-1), ["weight", "norm"]);
  return s.trace.within(s.path, () => rmsNormOp(x, offset === 0 ? gain : shift(gain, offset), { eps }));
}

/** Layer norm with the gain `weight` and the offset `bias`, both of role "norm" and those given. [..., D] → [..., D] */
export function layerNorm(s: Scope, x: Tensor, eps: number, ...roles: readonly string[]): Tensor {
  const gain = s.param("weight", x.shape.slice(-1), ["weight", "norm", ...roles]);
  const offset = s.param("bias", x.shape.slice(-1), ["bias", "norm", ...roles]);
  return s.trace.within(s.path, () => layerNormOp(x, gain, offset, { eps }));
}

/** What a token table is. */
export interface EmbeddingOptions {
  /** Tokens it knows. */
  readonly rows: number;
  readonly width: number;
  /** Whether it is the head's weight too; default false. */
  readonly tied?: boolean;
  /** Where its `weight` stands, if several places share one; default: where it is used. */
  readonly table?: Scope;
  /** What its rows are multiplied by; default 1. */
  readonly factor?: number;
}

/**
 * Rows of the token table: ids i32 [B, T] → [B, T', D]; T' > T where a method puts rows before them.
 * A table that is the head's weight too has both roles.
 */
export const embedding = (
  s: Scope,
  ids: Tensor,
  { rows, width, tied = false, table = s, factor = 1 }: EmbeddingOptions,
): Tensor =>
  s.call("embedding", { roles: ["embed"], in: rows, out: width, weight: `${table.path}.weight`, factor }, ids, (x) => {
    const found = gather(table.param("weight", [rows, width], ["weight", "embed", ...(tied ? ["unembed"] : [])]), x);
    return factor === 1 ? found : scale(found, factor);
  });

/** A map of hidden states that methods may wrap as a whole. [B, T, D] → [B, T, D] */
export const layer = (
  s: Scope,
  role: "embed" | "block" | "unembed",
  h: Tensor,
  body: (h: Tensor) => Tensor,
): Tensor => {
  const width = h.shape.at(-1) ?? 0;
  return s.call("layer", { roles: [role], in: width, out: width }, h, body);
};

/** skip + branch, the add around a sublayer; of a post-norm model norm(skip + branch). [B, T, D] */
export const residual = (
  s: Scope,
  role: "attn" | "cross" | "mlp",
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

/** How heads attend. */
export interface AttendOptions {
  /** Factor on the products of queries and keys; 1/√E is usual. */
  readonly scale: number;
  /** Rate at which the softmax's weights are dropped while training; default 0. */
  readonly dropout?: number;
  /** "cross" where keys are those of an encoder; default "attn". */
  readonly role?: "attn" | "cross";
}

/** softmax(scale · q kᵀ + bias) v over heads, behind the site where prefixes and caches join. → [B, T, H, E] */
export function attend(s: Scope, heads: Heads, { dropout: p = 0, role = "attn", ...options }: AttendOptions): Tensor {
  const [, , G = 0, E = 0] = heads.k.shape;
  const dropout = s.train && p > 0 ? { p, clock: s.clock(), name: `attention ${s.path}` } : undefined;
  return s.call("attention", { roles: [role], in: E, out: G }, heads, ({ q, k, v, mask, causal, packed, bias }) =>
    attention(q, k, v, mask, { causal, scale: options.scale, packed, dropout }, bias?.(k.shape[1] ?? 0) ?? null),
  );
}

/** Whole numbers 0 … n − 1 as f32 [n]. */
export const iota = (trace: Trace, n: number): Tensor =>
  trace.constant(`0 … ${n - 1}`, [n], () => Float32Array.from({ length: n }, (_, i) => i));

/**
 * Position ids of the rows of h [B, T', D], behind the site where a prefix shifts them: i32 [B or 1, T'].
 * @throws {ShapeError} if the batch brings positions for another number of rows.
 */
export function positions(s: Scope, given: Tensor | null, h: Tensor): Tensor {
  const rows = h.shape[1] ?? 0;
  if (given !== null && given.shape[1] !== rows)
    throw new ShapeError(`positions at ${s.path}: given ${show(given.shape)} for hidden states ${show(h.shape)}.`);
  const ids = given ?? s.trace.within(s.path, () => reshape(cast(iota(s.trace, rows), "i32"), [1, rows]));
  return s.call("positions", { roles: ["positions"] }, ids, (p) => p);
}

/**
 * What hides keys from the rows of h [B, T', D]: rows that a method put before the tokens are never hidden, and in a packed
 * batch they are every text's. [B, T']
 */
export function keyMask({ mask, packed = false }: TokenBatch, h: Tensor): Tensor | null {
  const extra = (h.shape[1] ?? 0) - (mask?.shape[1] ?? 0);
  if (mask === null || extra === 0) return mask;
  return concat([fill(mask.node.trace, [mask.shape[0] ?? 0, extra], packed ? -1 : 1), mask], 1);
}

/**
 * Token ids as a causal model takes them: the input "ids". It needs no mask: rows are padded on the right, where no real
 * token looks. Where several texts share a row, "mask" says which text a token is of, and "positions" which token of it.
 * @throws {ShapeError} if the sequence is longer than the positions of the model.
 */
export function tokenInputs(trace: Trace, { batch, length, packed = false }: BatchSize, maxLength: number): TokenBatch {
  if (length > maxLength)
    throw new ShapeError(
      `sequences of ${length} tokens are too long: the model tells ${maxLength} positions apart. Shorten them.`,
    );
  const shape = [batch, length];
  const ids = trace.input("ids", shape, "i32");
  if (!packed) return { ids, positions: null, mask: null };
  return { ids, positions: trace.input("positions", shape, "i32"), mask: trace.input("mask", shape), packed };
}
