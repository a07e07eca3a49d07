/** @file Which query sees which key, and with what score: what attention and its gradients have in common. */
import { ShapeError } from "../errors.ts";
import { type Aval, show } from "../shape.ts";
import type { Value } from "./op.ts";
import { noiseOf } from "./random.ts";

/** Inputs that not every attention has, in the order in which they follow q, k and v. */
export type Extra = "mask" | "bias" | "noise";

/** What decides the weight of a pair of a query and a key. */
export interface PairAttrs {
  /** Query t sees keys 0 … t + S − T (aligned at the last query and the last key). */
  readonly causal: boolean;
  /** What products are multiplied by before the bias is added. */
  readonly scale: number;
  /** Whether the mask holds numbers of texts: a key is seen by queries of its own number, one of −1 by all, of 0 by none. */
  readonly packed: boolean;
  /** Probability with which a weight is dropped; the others are divided by 1 − drop. */
  readonly drop: number;
  readonly extras: readonly Extra[];
}

/** Sizes of one attention: B batch, T queries, S keys, H query heads, G key heads (H is a multiple of G), E head width. */
export interface AttentionSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly G: number;
  readonly E: number;
}

export function attentionSizes(q: Aval, k: Aval): AttentionSizes {
  const [B = 0, T = 0, H = 0, E = 0] = q.shape;
  const [, S = 0, G = 0] = k.shape;
  return { B, T, S, H, G, E };
}

/** @throws {ShapeError} naming the operands that do not fit, their shapes and types, and what is wanted. */
export function checkAttention([q, k, v, ...rest]: readonly Aval[], { causal, packed, extras }: PairAttrs): void {
  const [query, key, value] = [q, k, v] as readonly [Aval, Aval, Aval]; // the op has three, and the extras
  const { B, T, S, H, G, E } = attentionSizes(query, key);
  const fits =
    query.shape.length === 4 &&
    key.shape.length === 4 &&
    show(key.shape) === show(value.shape) &&
    key.shape[0] === B &&
    key.shape[3] === E;
  if (!fits || H % G !== 0)
    throw new ShapeError(
      `attention: q ${show(query.shape)}, k ${show(key.shape)}, v ${show(value.shape)}: wants [B, T, H, E] and twice [B, S, G, E] with H a multiple of G.`,
    );
  const floats = { q: query, k: key, v: value, bias: rest[extras.indexOf("bias")] };
  for (const [name, t] of Object.entries(floats))
    if (t !== undefined && t.dtype !== "f32")
      throw new ShapeError(`attention: ${name} is ${t.dtype}, wants f32; cast it first.`);
  if ((causal || packed) && S < T)
    throw new ShapeError(
      `attention: ${T} ${causal ? "causal" : "packed"} queries need at least as many keys, not ${S}.`,
    );
  const mask = rest[extras.indexOf("mask")];
  if (packed && mask === undefined)
    throw new ShapeError(`attention: packed rows need the numbers of their texts as a mask [${B}, ${S}].`);
  if (mask !== undefined && (show(mask.shape) !== show([B, S]) || (mask.dtype !== "f32" && mask.dtype !== "i32")))
    throw new ShapeError(`attention: the key mask ${mask.dtype} ${show(mask.shape)} must be f32 or i32 [${B}, ${S}].`);
  const bias = floats.bias?.shape;
  if (bias !== undefined && show(bias) !== show([B, H, T, S]) && show(bias) !== show([1, H, T, S]))
    throw new ShapeError(`attention: the bias ${show(bias)} must be [1 or ${B}, ${H}, ${T}, ${S}].`);
}

/** Values that scores are made of. */
export interface PairValues {
  readonly q: Value;
  readonly k: Value;
  readonly mask?: Value | undefined;
  readonly bias?: Value | undefined;
  /** Upper and lower 16 bits of the state of the stream that says what is dropped. */
  readonly noise?: Value | undefined;
}

/** A query head and a key that it sees. */
export interface Pair {
  /** Which query, of B·T·H. */
  readonly row: number;
  /** Where its E values begin. */
  readonly q: number;
  /** Where those of the key and of its value begin. */
  readonly k: number;
  /** Its place in the bias. */
  readonly bias: number;
  readonly score: number;
  /** What its weight is multiplied by: 0 if it is dropped, 1 / (1 − drop) if not. */
  readonly keep: number;
}

/** Calls `visit` for every query head and every key that it sees. */
export function forEachPair(
  { inputs, attrs }: { readonly inputs: readonly Aval[]; readonly attrs: PairAttrs },
  { q, k, mask, bias, noise }: PairValues,
  visit: (pair: Pair) => void,
): void {
  const { causal, scale, packed, drop } = attrs;
  const { B, T, S, H, G, E } = attentionSizes(inputs[0] as Aval, inputs[1] as Aval); // q and k come first
  const isSeen = (b: number, t: number, s: number): boolean => {
    if (causal && s > t + S - T) return false;
    const text = mask?.[b * S + s] ?? 1;
    return packed ? text === -1 || (text !== 0 && text === mask?.[b * S + t + S - T]) : text !== 0;
  };
  const repeated = bias?.length === H * T * S ? 0 : 1;
  const state = ((noise?.[0] ?? 0) * 2 ** 16 + (noise?.[1] ?? 0)) >>> 0;
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++)
      for (let h = 0; h < H; h++) {
        const row = (b * T + t) * H + h;
        for (let s = 0; s < S; s++) {
          if (!isSeen(b, t, s)) continue;
          const key = ((b * S + s) * G + Math.floor((h * G) / H)) * E;
          const at = ((repeated * b * H + h) * T + t) * S + s;
          let product = 0;
          for (let e = 0; e < E; e++) product += (q[row * E + e] ?? 0) * (k[key + e] ?? 0);
          const isDropped = drop > 0 && noiseOf(state, ((b * H + h) * T + t) * S + s) < drop;
          visit({
            row,
            q: row * E,
            k: key,
            bias: at,
            score: product * scale + (bias?.[at] ?? 0),
            keep: isDropped ? 0 : 1 / (1 - drop),
          });
        }
      }
}

/** Sizes as the inputs of `attentionSide` tell them: those of keys are known only where there is a mask. */
export const sideSizes = ([out, , , mask]: readonly Aval[], extras: readonly Extra[]): Omit<AttentionSizes, "G"> => {
  const [B = 0, T = 0, H = 0, E = 0] = out?.shape ?? [];
  return { B, T, H, E, S: extras.includes("mask") ? (mask?.shape[1] ?? 0) : 0 };
};

/**
 * Where things lie in the one operand that tells the gradients what is not of the width of a head (all in floats, since a
 * shader may bind only eight buffers): lse [B, T, H], delta [B, T, H], the mask [B, S] if there is one, the noise [2] if
 * there is some.
 */
export function sideLayout(
  { B, T, S, H }: Omit<AttentionSizes, "G" | "E">,
  extras: readonly Extra[],
): Readonly<Record<"delta" | "mask" | "noise" | "length", number>> {
  const delta = B * T * H;
  const mask = 2 * delta;
  const noise = mask + (extras.includes("mask") ? B * S : 0);
  return { delta, mask, noise, length: noise + (extras.includes("noise") ? 2 : 0) };
}
