/**
 * @file DeBERTa: BERT whose attention scores add what queries and keys make of their distance. Version 1 has one projection
 * for queries, keys and values; versions 2 and 3 may sort distances into buckets and share projections with them.
 * @see He et al. 2021, 2023; HF `modeling_deberta.py`, `modeling_deberta_v2.py`.
 */
import { ConfigError, inF32, type JsonObject, type Scope, type TokenBatch } from "@graftml/peft";
import { abs, add, fill, minimum, mul, reshape, split, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { tokenLabels } from "./bert.ts";
import { only, readConfig } from "./config.ts";
import { convolve } from "./convolution.ts";
import { type DebertaConfig, debertaSchema } from "./deberta-config.ts";
import { byDistance, disentangledBias, type Positions } from "./disentangled.ts";
import { dense, embeddings, encoderModel, type Keys, postNormBlock, textInputs } from "./encoder.ts";
import type { BuildOptions, Family } from "./family.ts";
import { firstRow, type Head, type TokenHead, tokenLogits } from "./heads.ts";
import { activations, attend, keyMask, layerNorm, linear, positions } from "./layers.ts";
import { paddingAtZero } from "./random.ts";

/** What a version does in its own way. */
interface Version {
  readonly type: string;
  /** Its name in transformers' classes. */
  readonly name: string;
  /** Options of its relatives that it does not have. */
  readonly foreign: z.ZodType;
  /** Queries, keys and values of h [B, T, D], each [B, T, H, E]. */
  project(s: Scope, h: Tensor, heads: number): Record<"q" | "k" | "v", Tensor>;
  /** What stands for distances as keys, or in the place of queries: [N, D] → [N, D] */
  distances(s: Scope, rows: Tensor, as: "keys" | "queries", c: DebertaConfig): Tensor;
}

const first: Version = {
  type: "deberta",
  name: "Deberta",
  foreign: z.object({
    position_buckets: only(-1),
    share_att_key: only(false),
    norm_rel_ebd: only("none"),
    talking_head: only(false),
    conv_kernel_size: only(0),
  }),
  project(s, h, H) {
    const [B = 0, T = 0, D = 0] = h.shape;
    const E = D / H;
    const qkv = linear(s.at("in_proj"), h, { roles: ["attn.q", "attn.k", "attn.v"], out: 3 * D, bias: false });
    const offset = (name: string, role: string): Tensor => reshape(s.param(name, [D], ["bias", role]), [H, E]);
    const [qBias, vBias] = [offset("q_bias", "attn.q"), offset("v_bias", "attn.v")];
    return s.trace.within(s.path, () => {
      // Every head has its queries, keys and values side by side.
      const [q, k, v] = split(reshape(qkv, [B, T, H, 3 * E]), 3, [E, E, E]) as [Tensor, Tensor, Tensor]; // as many as lengths
      return { q: add(q, qBias), k, v: add(v, vBias) };
    });
  },
  distances: (s, rows, as, c) =>
    as === "keys"
      ? linear(s.at("pos_proj"), rows, { roles: ["pos.k"], out: c.hidden_size, bias: false })
      : dense(s.at("pos_q_proj"), rows, "pos.q", c.hidden_size),
};

const second: Version = {
  type: "deberta-v2",
  name: "DebertaV2",
  foreign: z.object({}),
  project(s, h, H) {
    const [B = 0, T = 0, D = 0] = h.shape;
    const part = (name: string, role: string): Tensor => reshape(dense(s.at(name), h, role, D), [B, T, H, D / H]);
    return { q: part("query_proj", "attn.q"), k: part("key_proj", "attn.k"), v: part("value_proj", "attn.v") };
  },
  distances(s, rows, as, { share_att_key: shared, hidden_size: D }) {
    const [name, role] = as === "keys" ? ["key_proj", "k"] : ["query_proj", "q"];
    return shared ? dense(s.at(name), rows, `attn.${role}`, D) : dense(s.at(`pos_${name}`), rows, `pos.${role}`, D);
  },
};

/** Heads [B, T, H, E] of h [B, T, D]; `table` has a row for every distance or bucket, null where only content counts. */
function selfAttention(s: Scope, h: Tensor, c: DebertaConfig, v: Version, keys: Keys, table: Tensor | null): Tensor {
  const rows = h.shape[1] ?? 0;
  const heads = v.project(s, h, c.num_attention_heads);
  const [, , , E = 0] = heads.q.shape;
  const factor = 1 / Math.sqrt(E * (1 + c.pos_att_type.length));
  const dropped = table === null ? null : s.at("pos_dropout").dropout(table, c.hidden_dropout_prob);
  const lookup = (word: "c2p" | "p2c", as: "keys" | "queries", order: "rising" | "falling"): Tensor | null => {
    if (dropped === null || !c.pos_att_type.includes(word)) return null;
    const chosen = s.trace.within(s.path, () => byDistance(dropped, rows, c.distances, order));
    return v.distances(s, chosen, as, c);
  };
  const at: Positions = { keys: lookup("c2p", "keys", "falling"), queries: lookup("p2c", "queries", "rising") };
  const bias =
    table === null
      ? null
      : (all: number): Tensor => s.trace.within(s.path, () => disentangledBias(heads.q, heads.k, at, factor, all));
  return attend(
    s,
    { ...heads, ...keys, causal: false, bias },
    { scale: factor, dropout: c.attention_probs_dropout_prob },
  );
}

/** Embeddings and blocks: [B, T', D]. */
function body(s: Scope, batch: TokenBatch, c: DebertaConfig, v: Version, tied: boolean): Tensor {
  const D = c.hidden_size;
  let h = embeddings(s.at("embeddings"), batch, {
    vocabulary: c.vocab_size,
    width: D,
    tied,
    positions: c.position_biased_input ? c.max_position_embeddings : 0,
    types: c.type_vocab_size,
    places: (at, x) => positions(at, batch.positions, x),
    finish: (at, x) =>
      at
        .at("dropout")
        .dropout(shown(batch, layerNorm(at.at("LayerNorm"), x, c.layer_norm_eps, "embed")), c.hidden_dropout_prob),
  });
  const keys: Keys = { mask: keyMask(batch, h), packed: batch.packed ?? false };
  const e = s.at("encoder");
  const table = c.relative_attention ? distanceTable(e, c) : null;
  const embedded = h;
  for (let i = 0; i < c.num_hidden_layers; i++) {
    h = postNormBlock(e.at(`layer.${i}`), h, c, (at, x) => selfAttention(at, x, c, v, keys, table));
    if (i === 0 && c.conv_kernel_size > 0) h = shown(batch, neighbours(e.at("conv"), embedded, h, batch, c));
  }
  return h;
}

/** What a convolution makes of embeddings, added to what the first block made of them, and normed. [B, T, D] */
function neighbours(s: Scope, embedded: Tensor, h: Tensor, batch: TokenBatch, c: DebertaConfig): Tensor {
  const [D, K] = [c.hidden_size, c.conv_kernel_size];
  const conv = s.at("conv");
  const weight = inF32(conv.param("weight", [D, D, K], ["weight", "embed"]));
  const bias = conv.param("bias", [D], ["bias", "embed"]);
  const mixed = s.at("dropout").dropout(
    s.trace.within(conv.path, () => shown(batch, convolve(embedded, weight, bias))),
    c.hidden_dropout_prob,
  );
  const sum = s.trace.within(s.path, () => add(h, activations[c.conv_act](mixed)));
  return layerNorm(s.at("LayerNorm"), sum, c.layer_norm_eps, "embed");
}

/** h [B, T', D] with zeros at padding. */
function shown(batch: TokenBatch, h: Tensor): Tensor {
  const mask = keyMask(batch, h);
  if (mask === null) return h;
  // Numbers of texts are above one, those of rows that all of them see below zero.
  const ones = batch.packed === true ? minimum(abs(mask), fill(mask.node.trace, [], 1)) : mask;
  return mul(h, reshape(ones, [...ones.shape, 1]));
}

/** What stands for distances, before the projections of each block: [2·span, D] */
function distanceTable(s: Scope, c: DebertaConfig): Tensor {
  const shape = [2 * c.distances.span, c.hidden_size];
  const table = inF32(s.at("rel_embeddings").param("weight", shape, ["weight", "embed"]));
  return c.norm_rel_ebd === "none" ? table : layerNorm(s.at("LayerNorm"), table, c.layer_norm_eps, "embed");
}

const headsOf = (c: DebertaConfig, name: string): Readonly<Record<string, Head>> => ({
  "masked-lm": {
    architecture: `${name}ForMaskedLM`,
    outputs: "tokens",
    apply: (scope, h) => tokenLogits(scope, h, tokenHead(c)),
  },
  "sequence-classification": {
    architecture: `${name}ForSequenceClassification`,
    outputs: "labels",
    apply: (scope, h, labels, batch) => {
      const s = scope.at("pooler");
      const row = s.at("dropout").dropout(firstRow(h, batch), c.pooler_dropout); // [B, D]
      const mixed = dense(s.at("dense"), row, "pooler", c.hidden_size);
      const pooled = scope.trace.within(s.path, () => activations[c.pooler_hidden_act](mixed));
      return tokenLabels(c.cls_dropout)(scope, pooled, labels);
    },
  },
  "token-classification": {
    architecture: `${name}ForTokenClassification`,
    outputs: "labels",
    apply: tokenLabels(c.hidden_dropout_prob),
  },
});

/** Where the parts of the masked head stand; the one that is not the legacy one always shares the token table. */
function tokenHead(c: DebertaConfig): TokenHead {
  const common = { eps: c.layer_norm_eps, activation: activations[c.hidden_act], vocabulary: c.vocab_size };
  const table = "deberta.embeddings.word_embeddings.weight";
  const parts = (s: string) => ({ dense: `${s}.dense`, norm: `${s}.LayerNorm` });
  if (!c.legacy) {
    const s = "lm_predictions.lm_head";
    return { ...common, ...parts(s), decoder: s, tied: table, bias: `${s}.bias` };
  }
  const s = "cls.predictions";
  const decoder = `${s}.decoder`;
  return {
    ...common,
    ...parts(`${s}.transform`),
    decoder,
    ...(c.tie_word_embeddings ? { tied: table, bias: `${s}.bias` } : { tied: null, bias: `${decoder}.bias` }),
  };
}

const family = (version: Version): Family => ({
  type: version.type,
  prefix: "deberta",
  // Files may hold a table of absolute positions that config.json does not use.
  computed: /(^|\.)embeddings\.(position_ids|position_embeddings\.weight)$/,
  otherHeads: /^(cls|lm_predictions|mask_predictions|pooler|classifier|qa_outputs)\./,
  build(json, options) {
    const c = configOf(json, options, version);
    return encoderModel(
      {
        facts: {
          type: version.type,
          layers: c.num_hidden_layers,
          hidden: c.hidden_size,
          heads: c.num_attention_heads,
          vocabulary: c.vocab_size,
          maxLength: c.max_position_embeddings,
        },
        heads: headsOf(c, version.name),
        inputs(trace, size) {
          if (size.packed === true && c.conv_kernel_size > 0)
            throw new ConfigError(
              `${options.file}: conv_kernel_size is ${c.conv_kernel_size}: a convolution does not see where texts that share a row end. Do not pack them (data.pack: false).`,
            );
          return textInputs(trace, size, c.max_position_embeddings, c.type_vocab_size);
        },
        forward: (scope, batch, outputs) =>
          body(scope.at("deberta"), batch, c, version, outputs === "tokens" && (c.tie_word_embeddings || !c.legacy)),
      },
      json,
      options,
    );
  },
  init: paddingAtZero(0, "deberta.embeddings.word_embeddings.weight"),
});

function configOf(json: JsonObject, { dropout, file }: BuildOptions, { foreign }: Version): DebertaConfig {
  readConfig(foreign, json, file);
  const c = readConfig(debertaSchema, json, file);
  if (dropout === "config") return c;
  const rates = { hidden_dropout_prob: dropout, attention_probs_dropout_prob: dropout };
  return { ...c, ...rates, pooler_dropout: dropout, cls_dropout: dropout };
}

/** DeBERTa of every size. */
export const deberta: Family = family(first);

/** DeBERTa of versions 2 and 3. */
export const debertaV2: Family = family(second);
