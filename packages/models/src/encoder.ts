/** @file What encoders of text have in common: what they read, embeddings, post-norm blocks, and how a model is put together. */
import type { BatchSize, Heads, JsonObject, Model, ModelInfo, Scope, TokenBatch } from "@graftml/peft";
import { add, cast, concat, fill, gather, reshape, type Tensor, type Trace } from "@graftml/tensor";
import { z } from "zod";
import { absent, activation, only, rate, size, unquantized } from "./config.ts";
import type { BuildOptions } from "./family.ts";
import { chooseHead, type Head } from "./heads.ts";
import { activations, attend, embedding, layer, layerNorm, linear, residual, tokenInputs } from "./layers.ts";

/** Keys of config.json that BERT and its relatives share. */
export const encoderKeys = {
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  intermediate_size: size,
  hidden_act: absent(activation, "gelu"),
  hidden_dropout_prob: absent(rate, 0.1),
  attention_probs_dropout_prob: absent(rate, 0.1),
  max_position_embeddings: size,
  layer_norm_eps: absent(z.number().positive(), 1e-12),
  tie_word_embeddings: absent(z.boolean(), true),
  is_decoder: only(false),
  add_cross_attention: only(false),
  quantization_config: unquantized,
};

/** What a block is told of its sizes. */
export type BlockConfig = Readonly<
  Pick<
    z.output<z.ZodObject<typeof encoderKeys>>,
    "hidden_size" | "intermediate_size" | "hidden_act" | "hidden_dropout_prob" | "layer_norm_eps"
  >
>;

/** An encoder: its body, and a head for every task that it has one for. */
export interface Encoder extends Pick<Model, "inputs"> {
  readonly facts: Omit<ModelInfo, "architecture" | "task" | "labels" | "keyHeads" | "headWidth" | "config">;
  readonly heads: Readonly<Record<string, Head>>;
  /** `Model.forward`, told what the head's outputs stand for: a token table may be its weight too. */
  forward(scope: Scope, batch: TokenBatch, outputs: Head["outputs"]): Tensor;
}

/**
 * An encoder with the head of a task.
 * @throws {ConfigError} if it has no head for that task.
 */
export function encoderModel(
  { facts, heads, inputs, forward }: Encoder,
  json: JsonObject,
  options: BuildOptions,
): Model {
  const { head, labels, config } = chooseHead(heads, facts.type, json, options);
  return {
    info: {
      ...facts,
      architecture: head.architecture,
      task: options.task,
      labels,
      keyHeads: facts.heads,
      headWidth: facts.hidden / facts.heads,
      config,
    },
    inputs,
    forward: (scope, batch) => forward(scope, batch, head.outputs),
    head: (scope, hidden, batch) => head.apply(scope, hidden, labels === 0 ? facts.vocabulary : labels, batch),
  };
}

/**
 * Token ids as an encoder takes them: the inputs "ids" and "mask", and where it tells texts of a pair apart "types". Texts
 * that share rows are judged by their first tokens, the input "starts".
 * @param types kinds of texts that it tells apart.
 * @throws {ShapeError} if the sequence is longer than the positions of the model.
 */
export function textInputs(trace: Trace, size: BatchSize, maxLength: number, types: number): TokenBatch {
  const shape = [size.batch, size.length];
  const tokens = tokenInputs(trace, size, maxLength);
  return {
    ...tokens,
    mask: tokens.mask ?? trace.input("mask", shape),
    types: types > 1 ? trace.input("types", shape, "i32") : null,
    ...(size.texts !== undefined && { judged: trace.input("starts", [size.texts], "i32") }),
  };
}

/** The tables that an encoder's embeddings are the sum of. */
export interface Tables {
  readonly vocabulary: number;
  readonly width: number;
  /** Whether the token table is the head's weight too. */
  readonly tied: boolean;
  /** Positions that their table covers; 0: there is none. */
  readonly positions: number;
  /** Kinds of texts; 0: there is no table of them. */
  readonly types: number;
  /** Position ids of the rows of h [B, T', D], i32 [B or 1, T']. */
  places(s: Scope, h: Tensor): Tensor;
  /** What is made of the sum. */
  finish(s: Scope, x: Tensor): Tensor;
}

/** Tokens, positions and types of text, added up: ids i32 [B, T] → [B, T', D]. */
export function embeddings(s: Scope, batch: TokenBatch, t: Tables): Tensor {
  const tokens = embedding(s.at("word_embeddings"), batch.ids, { rows: t.vocabulary, width: t.width, tied: t.tied });
  const table = (name: string, rows: number): Tensor =>
    s.at(name).param("weight", [rows, t.width], ["weight", "embed"]);
  const at = s.at("position_embeddings");
  const places = t.positions > 0 ? t.places(at, tokens) : null;
  return layer(s, "embed", tokens, (x) => {
    const placed = places === null ? x : add(x, gather(table("position_embeddings", t.positions), places));
    const typed = t.types > 0 ? add(placed, gather(table("token_type_embeddings", t.types), kinds(batch, x))) : placed;
    return t.finish(s, typed);
  });
}

/** Layer norm and dropout, as most embeddings end. [B, T, D] */
export const normed = (s: Scope, x: Tensor, eps: number, rate: number): Tensor =>
  s.at("dropout").dropout(layerNorm(s.at("LayerNorm"), x, eps, "embed"), rate);

/** Kinds of text of the rows of h [B, T', D]: rows that a method put before the tokens are of the first. i32 [B or 1, T'] */
function kinds({ types }: TokenBatch, h: Tensor): Tensor {
  const { trace } = h.node;
  const rows = h.shape[1] ?? 0;
  const [B = 1, T = 0] = types?.shape ?? [];
  if (types == null) return cast(fill(trace, [1, rows], 0), "i32");
  return rows === T ? types : concat([cast(fill(trace, [B, rows - T], 0), "i32"), types], 1);
}

/** y = x Wᵀ + b with one role. [..., in] → [..., out] */
export const dense = (s: Scope, x: Tensor, role: string, out: number): Tensor =>
  linear(s, x, { roles: [role], out, bias: true });

/** What hides keys from the rows of a text. */
export type Keys = Pick<Heads, "mask" | "packed">;

/** How tokens attend to each other. */
export interface AttentionConfig {
  /** Names of the layers that make queries, keys and values. */
  readonly projections: readonly [queries: string, keys: string, values: string];
  /** Whether these have offsets; default true. */
  readonly bias?: boolean;
  readonly heads: number;
  /** Rate at which the softmax's weights are dropped. */
  readonly dropout: number;
}

/** Every token's heads attend to those of all tokens, before the output layer: [B, T, D] → [B, T, H, E] */
export function selfAttention(
  s: Scope,
  h: Tensor,
  { projections: [queries, keys, values], bias = true, heads: H, dropout }: AttentionConfig,
  hidden: Keys,
): Tensor {
  const [B = 0, T = 0, D = 0] = h.shape;
  const E = D / H;
  const project = (name: string, role: string): Tensor =>
    reshape(linear(s.at(name), h, { roles: [role], out: D, bias }), [B, T, H, E]);
  const [q, k, v] = [project(queries, "attn.q"), project(keys, "attn.k"), project(values, "attn.v")]; // [B, T, H, E]
  return attend(s, { q, k, v, ...hidden, causal: false }, { scale: 1 / Math.sqrt(E), dropout });
}

/**
 * Attention and feed-forward, each added to what it was given and normed. [B, T, D] → [B, T, D]
 * @param attention heads [B, T, H, E] of hidden states [B, T, D], at the scope of BERT's `attention.self`.
 */
export const postNormBlock = (
  s: Scope,
  h: Tensor,
  { hidden_size: D, intermediate_size: F, hidden_act, hidden_dropout_prob: p, layer_norm_eps: eps }: BlockConfig,
  attention: (s: Scope, h: Tensor) => Tensor,
): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("attention"), s.at("output")];
    const norm = (at: Scope) => (z: Tensor) => layerNorm(at.at("LayerNorm"), z, eps);
    const heads = reshape(attention(attn.at("self"), x), x.shape); // [B, T, D]
    const mixed = attn.at("output.dropout").dropout(dense(attn.at("output.dense"), heads, "attn.o", D), p);
    const y = residual(attn, "attn", x, mixed, norm(attn.at("output")));
    const wide = dense(s.at("intermediate.dense"), y, "mlp.up", F); // [B, T, F]
    const inner = s.trace.within(s.path, () => activations[hidden_act](wide));
    const narrow = mlp.at("dropout").dropout(dense(mlp.at("dense"), inner, "mlp.down", D), p);
    return residual(mlp, "mlp", y, narrow, norm(mlp));
  });
