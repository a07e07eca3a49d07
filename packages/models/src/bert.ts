/**
 * @file BERT: post-norm blocks that see the whole text, with learned positions, types of text and biases.
 * @see Devlin et al. 2019; HF `modeling_bert.py`.
 */
import type { JsonObject, Scope, TokenBatch } from "@graftml/peft";
import { tanh, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { absent, only, rate, readConfig, size } from "./config.ts";
import {
  dense,
  embeddings,
  encoderKeys,
  encoderModel,
  normed,
  postNormBlock,
  selfAttention,
  type Tables,
  textInputs,
} from "./encoder.ts";
import type { BuildOptions, Family } from "./family.ts";
import { classifier, firstRow, type Head, tokenLogits } from "./heads.ts";
import { activations, keyMask, positions } from "./layers.ts";
import { paddingAtZero } from "./random.ts";

/** The configuration of BERT and of those who changed only how it is trained. */
const schema = z
  .object({
    ...encoderKeys,
    type_vocab_size: absent(size, 2),
    classifier_dropout: rate.nullish(),
    position_embedding_type: only("absolute"),
  })
  .refine((c) => c.hidden_size % c.num_attention_heads === 0, {
    path: ["num_attention_heads"],
    error: "must divide hidden_size",
  })
  .transform((c) => ({ ...c, classifier_dropout: c.classifier_dropout ?? c.hidden_dropout_prob }));

export type BertConfig = z.output<typeof schema>;

/** A configuration as read, with the dropouts that are wanted. */
export function bertConfig(json: JsonObject, { dropout, file }: BuildOptions): BertConfig {
  const c = readConfig(schema, json, file);
  if (dropout === "config") return c;
  return { ...c, hidden_dropout_prob: dropout, attention_probs_dropout_prob: dropout, classifier_dropout: dropout };
}

/** Embeddings and blocks: [B, T', D]. */
export function bertBody(
  s: Scope,
  batch: TokenBatch,
  c: BertConfig,
  { tied, places }: Pick<Tables, "tied" | "places">,
): Tensor {
  let h = embeddings(s.at("embeddings"), batch, {
    vocabulary: c.vocab_size,
    width: c.hidden_size,
    tied,
    positions: c.max_position_embeddings,
    types: c.type_vocab_size,
    places,
    finish: (at, x) => normed(at, x, c.layer_norm_eps, c.hidden_dropout_prob),
  });
  const keys = { mask: keyMask(batch, h), packed: batch.packed ?? false };
  const attention = {
    projections: ["query", "key", "value"],
    heads: c.num_attention_heads,
    dropout: c.attention_probs_dropout_prob,
  } as const;
  for (let i = 0; i < c.num_hidden_layers; i++)
    h = postNormBlock(s.at(`encoder.layer.${i}`), h, c, (at, x) => selfAttention(at, x, attention, keys));
  return h;
}

/** Labels of tokens: dropout and a linear layer. */
export const tokenLabels =
  (rate: number) =>
  (scope: Scope, h: Tensor, labels: number): Tensor =>
    classifier(scope.at("classifier"), scope.at("dropout").dropout(h, rate), labels);

const headsOf = (c: BertConfig): Readonly<Record<string, Head>> => ({
  "masked-lm": {
    architecture: "BertForMaskedLM",
    outputs: "tokens",
    apply: (scope, h) =>
      tokenLogits(scope, h, {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        eps: c.layer_norm_eps,
        activation: activations[c.hidden_act],
        decoder: "cls.predictions.decoder",
        vocabulary: c.vocab_size,
        ...(c.tie_word_embeddings
          ? { tied: "bert.embeddings.word_embeddings.weight", bias: "cls.predictions.bias" }
          : { tied: null, bias: "cls.predictions.decoder.bias" }),
      }),
  },
  "sequence-classification": {
    architecture: "BertForSequenceClassification",
    outputs: "labels",
    apply: (scope, h, labels, batch) => {
      const pooled = tanh(dense(scope.at("bert.pooler.dense"), firstRow(h, batch), "pooler", c.hidden_size)); // [B, D]
      return tokenLabels(c.classifier_dropout)(scope, pooled, labels);
    },
  },
  "token-classification": {
    architecture: "BertForTokenClassification",
    outputs: "labels",
    apply: tokenLabels(c.classifier_dropout),
  },
});

/** BERT of every size, MiniLM, and sentence encoders made of them. */
export const bert: Family = {
  type: "bert",
  prefix: "bert",
  computed: /(^|\.)embeddings\.position_ids$/,
  otherHeads: /^(cls|classifier|qa_outputs)\.|(^|\.)pooler\./,
  // Converted from TensorFlow, the first files name the parts of norms as their paper does.
  rename: (name) => name.replace(/LayerNorm\.gamma$/, "LayerNorm.weight").replace(/LayerNorm\.beta$/, "LayerNorm.bias"),
  build(json, options) {
    const c = bertConfig(json, options);
    return encoderModel(
      {
        facts: {
          type: "bert",
          layers: c.num_hidden_layers,
          hidden: c.hidden_size,
          heads: c.num_attention_heads,
          vocabulary: c.vocab_size,
          maxLength: c.max_position_embeddings,
        },
        heads: headsOf(c),
        inputs: (trace, size) => textInputs(trace, size, c.max_position_embeddings, c.type_vocab_size),
        forward: (scope, batch, outputs) =>
          bertBody(scope.at("bert"), batch, c, {
            tied: c.tie_word_embeddings && outputs === "tokens",
            places: (at, h) => positions(at, batch.positions, h),
          }),
      },
      json,
      options,
    );
  },
  init: paddingAtZero(0, "bert.embeddings.word_embeddings.weight"),
};
