/** @file The yardstick of training steps: a pre-norm GPT with learned positions and an untied head. */

import { causalLm } from "@graftml/trainer";
import { randomRow } from "./random.ts";
import type { Yardstick } from "./training.ts";

/** Sizes of a GPT and its batch. */
export interface GptSize {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly batch: number;
  readonly length: number;
}

/** 4 layers of width 256, 8 × 128 tokens: 3.3 million parameters, about 21 GFLOP a step. */
export const MEDIUM: GptSize = { layers: 4, width: 256, heads: 4, vocabulary: 256, batch: 8, length: 128 };

/** The size as GPT-2's config.json. */
const gpt2Config = ({ layers, width, heads, vocabulary, length }: GptSize): Readonly<Record<string, unknown>> => ({
  model_type: "gpt2",
  architectures: ["GPT2LMHeadModel"],
  n_layer: layers,
  n_head: heads,
  n_embd: width,
  n_positions: length,
  vocab_size: vocabulary,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  tie_word_embeddings: false,
  resid_pdrop: 0,
  embd_pdrop: 0,
  attn_pdrop: 0,
});

/** Language modelling on random tokens. */
export const gptYardstick = (size: GptSize): Yardstick => ({
  config: gpt2Config(size),
  task: causalLm,
  rows: Array.from({ length: size.batch }, () => {
    const ids = randomRow(size.length, size.vocabulary);
    return { ids, labels: ids };
  }),
});
