/**
 * @file DistilBERT: BERT with half the blocks, without types of text and without a pooler.
 * @see Sanh et al. 2019; HF `modeling_distilbert.py`.
 */
import type { JsonObject, Scope } from "@graftml/peft";
import { relu, reshape, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { tokenLabels } from "./bert.ts";
import { absent, activation, only, rate, readConfig, size, unquantized } from "./config.ts";
import { dense, embeddings, encoderModel, type Keys, normed, selfAttention, textInputs } from "./encoder.ts";
import type { BuildOptions, Family } from "./family.ts";
import { firstRow, type Head, tokenLogits } from "./heads.ts";
import { activations, keyMask, layer, layerNorm, positions, residual } from "./layers.ts";
import { paddingAtZero } from "./random.ts";

/** What every norm adds to the variance; config.json does not say it. */
const EPS = 1e-12;

const schema = z
  .object({
    vocab_size: size,
    max_position_embeddings: size,
    n_layers: size,
    n_heads: size,
    dim: size,
    hidden_dim: size,
    activation: absent(activation, "gelu"),
    dropout: absent(rate, 0.1),
    attention_dropout: absent(rate, 0.1),
    seq_classif_dropout: absent(rate, 0.2),
    tie_word_embeddings: absent(z.boolean(), true),
    sinusoidal_pos_embds: only(false),
    quantization_config: unquantized,
  })
  .refine((c) => c.dim % c.n_heads === 0, { path: ["n_heads"], error: "must divide dim" });

type DistilBertConfig = z.output<typeof schema>;

function configOf(json: JsonObject, { dropout, file }: BuildOptions): DistilBertConfig {
  const c = readConfig(schema, json, file);
  return dropout === "config" ? c : { ...c, dropout, attention_dropout: dropout, seq_classif_dropout: dropout };
}

function attention(s: Scope, h: Tensor, c: DistilBertConfig, keys: Keys): Tensor {
  const projections = ["q_lin", "k_lin", "v_lin"] as const;
  const heads = selfAttention(s, h, { projections, heads: c.n_heads, dropout: c.attention_dropout }, keys); // [B, T, H, E]
  return dense(s.at("out_lin"), reshape(heads, h.shape), "attn.o", c.dim);
}

function feedForward(s: Scope, h: Tensor, c: DistilBertConfig): Tensor {
  const wide = dense(s.at("lin1"), h, "mlp.up", c.hidden_dim); // [B, T, F]
  const inner = s.trace.within(s.path, () => activations[c.activation](wide));
  return s.at("dropout").dropout(dense(s.at("lin2"), inner, "mlp.down", c.dim), c.dropout);
}

const block = (s: Scope, h: Tensor, c: DistilBertConfig, keys: Keys): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("attention"), s.at("ffn")];
    const norm = (name: string) => (z: Tensor) => layerNorm(s.at(name), z, EPS);
    const y = residual(attn, "attn", x, attention(attn, x, c, keys), norm("sa_layer_norm"));
    return residual(mlp, "mlp", y, feedForward(mlp, y, c), norm("output_layer_norm"));
  });

const headsOf = (c: DistilBertConfig): Readonly<Record<string, Head>> => ({
  "masked-lm": {
    architecture: "DistilBertForMaskedLM",
    outputs: "tokens",
    apply: (scope, h) =>
      tokenLogits(scope, h, {
        dense: "vocab_transform",
        norm: "vocab_layer_norm",
        eps: EPS,
        activation: activations[c.activation],
        decoder: "vocab_projector",
        vocabulary: c.vocab_size,
        tied: c.tie_word_embeddings ? "distilbert.embeddings.word_embeddings.weight" : null,
        bias: "vocab_projector.bias",
      }),
  },
  "sequence-classification": {
    architecture: "DistilBertForSequenceClassification",
    outputs: "labels",
    apply: (scope, h, labels, batch) => {
      const mixed = relu(dense(scope.at("pre_classifier"), firstRow(h, batch), "head", c.dim)); // [B, D]
      return tokenLabels(c.seq_classif_dropout)(scope, mixed, labels);
    },
  },
  "token-classification": {
    architecture: "DistilBertForTokenClassification",
    outputs: "labels",
    apply: tokenLabels(c.dropout),
  },
});

/** DistilBERT and DistilmBERT. */
export const distilbert: Family = {
  type: "distilbert",
  prefix: "distilbert",
  computed: /(^|\.)embeddings\.position_ids$/,
  otherHeads: /^(vocab_(transform|layer_norm|projector)|pre_classifier|classifier|qa_outputs)\./,
  build(json, options) {
    const c = configOf(json, options);
    return encoderModel(
      {
        facts: {
          type: "distilbert",
          layers: c.n_layers,
          hidden: c.dim,
          heads: c.n_heads,
          vocabulary: c.vocab_size,
          maxLength: c.max_position_embeddings,
        },
        heads: headsOf(c),
        inputs: (trace, size) => textInputs(trace, size, c.max_position_embeddings, 0),
        forward(scope, batch, outputs) {
          const s = scope.at("distilbert");
          let h = embeddings(s.at("embeddings"), batch, {
            vocabulary: c.vocab_size,
            width: c.dim,
            tied: c.tie_word_embeddings && outputs === "tokens",
            positions: c.max_position_embeddings,
            types: 0,
            places: (at, x) => positions(at, batch.positions, x),
            finish: (at, x) => normed(at, x, EPS, c.dropout),
          });
          const keys: Keys = { mask: keyMask(batch, h), packed: batch.packed ?? false };
          for (let i = 0; i < c.n_layers; i++) h = block(s.at(`transformer.layer.${i}`), h, c, keys);
          return h;
        },
      },
      json,
      options,
    );
  },
  init: paddingAtZero(0, "distilbert.embeddings.word_embeddings.weight"),
};
