/**
 * @file RoBERTa and XLM-R: BERT with positions that begin behind the padding token's id, and another head.
 * @see Liu et al. 2019; Conneau et al. 2020; HF `modeling_roberta.py`.
 */
import type { Scope, TokenBatch } from "@graftml/peft";
import { add, cast, fill, geluErf, less, linear, mul, reshape, shift, tanh, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { bertBody, bertConfig, type BertConfig, tokenLabels } from "./bert.ts";
import { absent, readConfig } from "./config.ts";
import { dense, encoderModel, textInputs } from "./encoder.ts";
import type { Family } from "./family.ts";
import { classifier, firstRow, type Head, tokenLogits } from "./heads.ts";
import { iota, positions } from "./layers.ts";
import { paddingAtZero } from "./random.ts";

/** Id of the padding token where config.json names none. */
const PADDING = 1;
const padding = z.object({ pad_token_id: absent(z.int().min(0), PADDING) });

/** Whether tokens are no padding, 1 or 0: i32 [B, T] → [B, T] */
function isText(ids: Tensor, pad: number): Tensor {
  const [x, p] = [cast(ids, "f32"), fill(ids.node.trace, [], pad)];
  return add(less(x, p), less(p, x));
}

/** Sums of a row up to and including each element: [B, T] → [B, T] */
function runningSum(x: Tensor): Tensor {
  const T = x.shape[1] ?? 0;
  const upTo = x.node.trace.constant(`up to ${T}`, [T, T], () =>
    Float32Array.from({ length: T * T }, (_, i) => (i % T <= Math.floor(i / T) ? 1 : 0)),
  );
  return linear(x, upTo);
}

/**
 * Position ids: the n-th token of a text (n = 1, 2, …) has n + pad, padding has pad. Where a method put rows before the
 * tokens all rows are counted, as transformers does with embeddings that it is given. i32 [B or 1, T']
 */
function places(s: Scope, h: Tensor, { ids, positions: given }: TokenBatch, pad: number): Tensor {
  const rows = h.shape[1] ?? 0;
  const numbers = (): Tensor => {
    if (given !== null) return shift(cast(given, "f32"), 1);
    if (rows !== ids.shape[1]) return shift(reshape(iota(s.trace, rows), [1, rows]), 1);
    const text = isText(ids, pad);
    return mul(runningSum(text), text);
  };
  const shifted = s.trace.within(s.path, () => cast(shift(numbers(), pad), "i32"));
  return positions(s, shifted, h);
}

const headsOf = (c: BertConfig, name: string): Readonly<Record<string, Head>> => ({
  "masked-lm": {
    architecture: `${name}ForMaskedLM`,
    outputs: "tokens",
    apply: (scope, h) =>
      tokenLogits(scope, h, {
        dense: "lm_head.dense",
        norm: "lm_head.layer_norm",
        eps: c.layer_norm_eps,
        activation: geluErf,
        decoder: "lm_head.decoder",
        vocabulary: c.vocab_size,
        ...(c.tie_word_embeddings
          ? { tied: "roberta.embeddings.word_embeddings.weight", bias: "lm_head.bias" }
          : { tied: null, bias: "lm_head.decoder.bias" }),
      }),
  },
  "sequence-classification": {
    architecture: `${name}ForSequenceClassification`,
    outputs: "labels",
    apply: (scope, h, labels, batch) => {
      const s = scope.at("classifier");
      const dropped = (x: Tensor, at: string): Tensor => s.at(at).dropout(x, c.classifier_dropout);
      const mixed = tanh(dense(s.at("dense"), dropped(firstRow(h, batch), "dropout.0"), "head", c.hidden_size)); // [B, D]
      return classifier(s.at("out_proj"), dropped(mixed, "dropout.1"), labels);
    },
  },
  "token-classification": {
    architecture: `${name}ForTokenClassification`,
    outputs: "labels",
    apply: tokenLabels(c.classifier_dropout),
  },
});

const family = (type: string, name: string): Family => ({
  type,
  prefix: "roberta",
  computed: /(^|\.)embeddings\.position_ids$/,
  otherHeads: /^(lm_head|classifier|qa_outputs)\.|(^|\.)pooler\./,
  build(json, options) {
    const c = bertConfig(json, options);
    const { pad_token_id: pad } = readConfig(padding, json, options.file);
    const maxLength = c.max_position_embeddings - pad - 1;
    return encoderModel(
      {
        facts: {
          type,
          layers: c.num_hidden_layers,
          hidden: c.hidden_size,
          heads: c.num_attention_heads,
          vocabulary: c.vocab_size,
          maxLength,
        },
        heads: headsOf(c, name),
        inputs: (trace, size) => textInputs(trace, size, maxLength, c.type_vocab_size),
        forward: (scope, batch, outputs) =>
          bertBody(scope.at("roberta"), batch, c, {
            tied: c.tie_word_embeddings && outputs === "tokens",
            places: (at, h) => places(at, h, batch, pad),
          }),
      },
      json,
      options,
    );
  },
  init: paddingAtZero(
    PADDING,
    "roberta.embeddings.word_embeddings.weight",
    "roberta.embeddings.position_embeddings.weight",
  ),
});

/** RoBERTa of every size. */
export const roberta: Family = family("roberta", "Roberta");

/** XLM-R of every size: RoBERTa for many languages. */
export const xlmRoberta: Family = family("xlm-roberta", "XLMRoberta");
