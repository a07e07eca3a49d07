/**
 * @file Llama and its relatives: pre-norm blocks of grouped-query attention with rotary positions and a gated feed-forward.
 * @see Touvron et al. 2023; HF `modeling_llama.py`, and those of Mistral, Qwen2, Qwen3, SmolLM3 and Gemma.
 */
import { type JsonObject, type Model, type Scope, zeros } from "@graftml/peft";
import { mul, reshape, rope, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { absent, activation, only, rate, readConfig, size, unquantized } from "./config.ts";
import { decoderHeads, decoderInputs } from "./decoder-heads.ts";
import type { BuildOptions, Family } from "./family.ts";
import { chooseHead } from "./heads.ts";
import { activations, attend, embedding, keyMask, layer, linear, positions, residual, rmsNorm } from "./layers.ts";
import { paddingAtZero } from "./random.ts";
import { readBy, type Relative, relatives } from "./relatives.ts";
import { rotaryKeys, rotaryScaling, rotaryTable } from "./rotary.ts";

const schema = z
  .object({
    vocab_size: size,
    hidden_size: size,
    intermediate_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    num_key_value_heads: size.nullish(),
    head_dim: size.nullish(),
    max_position_embeddings: size,
    hidden_act: absent(activation, "silu"),
    rms_norm_eps: absent(z.number().positive(), 1e-6),
    attention_bias: absent(z.boolean(), false),
    output_bias: z.boolean().nullish(),
    mlp_bias: absent(z.boolean(), false),
    attention_dropout: absent(rate, 0),
    classifier_dropout: rate.nullish(),
    tie_word_embeddings: absent(z.boolean(), false),
    rope_theta: absent(z.number().positive(), 10_000),
    rope_scaling: rotaryKeys.nullish(),
    rope_parameters: rotaryKeys.nullish(),
    use_sliding_window: absent(z.boolean(), false),
    sliding_window: size.nullish(),
    layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).nullish(),
    no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
    no_rope_layer_interval: size.nullish(),
    use_bidirectional_attention: only(false),
    pretraining_tp: only(1),
    quantization_config: unquantized,
  })
  .transform((c) => {
    const rotary = c.rope_scaling ?? c.rope_parameters;
    const slides = c.layer_types?.includes("sliding_attention") ?? c.use_sliding_window;
    const longest = slides ? (c.sliding_window ?? Infinity) : Infinity;
    return {
      ...c,
      num_key_value_heads: c.num_key_value_heads ?? c.num_attention_heads,
      head_dim: c.head_dim ?? c.hidden_size / c.num_attention_heads,
      output_bias: c.output_bias ?? c.attention_bias,
      rope_theta: rotary?.theta ?? c.rope_theta,
      rope_scaling: rotary == null ? undefined : rotaryScaling(rotary, c.max_position_embeddings),
      // A sliding window hides nothing from a text that fits into it; longer ones are refused.
      longest: Math.min(c.max_position_embeddings, longest),
    };
  })
  .refine((c) => c.head_dim % 2 === 0, {
    path: ["head_dim"],
    error: "must be even (hidden_size / num_attention_heads where it is absent)",
  })
  .refine((c) => c.num_attention_heads % c.num_key_value_heads === 0, {
    path: ["num_key_value_heads"],
    error: "must divide num_attention_heads",
  });

type LlamaConfig = z.output<typeof schema> & Relative;

/** What every block is told of the sequence. */
interface Sequence {
  /** i32 [B or 1, T] */
  readonly positions: Tensor;
  /** Angles, [P, E]. */
  readonly table: Tensor;
  /** [B, T] or null; `packed` says what it holds. */
  readonly mask: Tensor | null;
  readonly packed: boolean;
}

/** Root-mean-square norm, with the gain that a relative stores less one. [..., D] → [..., D] */
const norm = (s: Scope, x: Tensor, { rms_norm_eps, centred = false }: LlamaConfig): Tensor =>
  rmsNorm(s, x, rms_norm_eps, { offset: centred ? 1 : 0 });

function selfAttention(s: Scope, h: Tensor, c: LlamaConfig, i: number, sequence: Sequence): Tensor {
  const { positions, table, mask, packed } = sequence;
  const [B = 0, T = 0, D = 0] = h.shape;
  const { num_attention_heads: H, num_key_value_heads: G, head_dim: E } = c;
  const project = (name: string, heads: number): Tensor => {
    const options = { roles: [`attn.${name}`], out: heads * E, bias: c.attention_bias };
    return reshape(linear(s.at(`${name}_proj`), h, options), [B, T, heads, E]);
  };
  const turn = (name: string, x: Tensor): Tensor => {
    const normed = c.headNorms === true ? norm(s.at(`${name}_norm`), x, c) : x;
    return rotates(c, i) ? s.trace.within(s.path, () => rope(normed, positions, table)) : normed;
  };
  const q = turn("q", project("q", H)); // [B, T, H, E]
  const k = turn("k", project("k", G)); // [B, T, G, E]
  const v = project("v", G); // [B, T, G, E]
  const options = { scale: 1 / Math.sqrt(E), dropout: c.attention_dropout };
  const heads = attend(s, { q, k, v, mask, packed, causal: true }, options); // [B, T, H, E]
  return linear(s.at("o_proj"), reshape(heads, [B, T, H * E]), { roles: ["attn.o"], out: D, bias: c.output_bias });
}

/** Whether block i knows positions. */
const rotates = ({ no_rope_layers: marks, no_rope_layer_interval: interval }: LlamaConfig, i: number): boolean =>
  marks == null ? interval == null || (i + 1) % interval !== 0 : marks[i] !== 0;

function feedForward(s: Scope, h: Tensor, c: LlamaConfig): Tensor {
  const { intermediate_size: F, mlp_bias: bias } = c;
  const gate = linear(s.at("gate_proj"), h, { roles: ["mlp.gate"], out: F, bias }); // [B, T, F]
  const up = linear(s.at("up_proj"), h, { roles: ["mlp.up"], out: F, bias }); // [B, T, F]
  const inner = s.trace.within(s.path, () => mul(activations[c.hidden_act](gate), up));
  return linear(s.at("down_proj"), inner, { roles: ["mlp.down"], out: c.hidden_size, bias });
}

const block = (s: Scope, h: Tensor, c: LlamaConfig, i: number, sequence: Sequence): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("self_attn"), s.at("mlp")];
    const y = residual(attn, "attn", x, selfAttention(attn, norm(s.at("input_layernorm"), x, c), c, i, sequence));
    return residual(mlp, "mlp", y, feedForward(mlp, norm(s.at("post_attention_layernorm"), y, c), c));
  });

function configOf(relative: Relative, json: JsonObject, { dropout, file }: BuildOptions): LlamaConfig {
  const c = { ...readConfig(schema, readBy(relative, json), file), ...relative };
  return dropout === "config" ? c : { ...c, attention_dropout: dropout, classifier_dropout: dropout };
}

function build(type: string, relative: Relative, json: JsonObject, options: BuildOptions): Model {
  const c = configOf(relative, json, options);
  const { vocab_size: V, hidden_size: D, max_position_embeddings: P } = c;
  const table = "model.embed_tokens";
  const tied = c.tie_word_embeddings ? `${table}.weight` : null;
  const { name, classifier_dropout: dropout = null } = c;
  const heads = decoderHeads({ name, tied, tokens: "score", dropout });
  const { head, labels, config } = chooseHead(heads, type, json, options);
  return {
    info: {
      type,
      architecture: head.architecture,
      task: options.task,
      labels,
      layers: c.num_hidden_layers,
      hidden: D,
      heads: c.num_attention_heads,
      keyHeads: c.num_key_value_heads,
      headWidth: c.head_dim,
      vocabulary: V,
      maxLength: c.longest,
      config,
    },
    inputs: (trace, size) => decoderInputs(trace, size, c.longest, head),
    forward(scope, batch) {
      const s = scope.at("model");
      const tokens = embedding(s.at("embed_tokens"), batch.ids, {
        rows: V,
        width: D,
        tied: tied !== null && head.outputs === "tokens",
        factor: c.centred === true ? Math.fround(Math.sqrt(D)) : 1,
      }); // [B, T', D]
      const sequence: Sequence = {
        positions: positions(s.at("rotary_emb"), batch.positions, tokens),
        table: rotaryTable(s.trace, { positions: P, width: c.head_dim, theta: c.rope_theta, scaling: c.rope_scaling }),
        mask: keyMask(batch, tokens),
        packed: batch.packed ?? false,
      };
      let h = layer(s.at("embed_tokens"), "embed", tokens, (x) => x);
      for (let i = 0; i < c.num_hidden_layers; i++) h = block(s.at(`layers.${i}`), h, c, i, sequence);
      return layer(s.at("norm"), "unembed", h, (x) => norm(s.at("norm"), x, c));
    },
    head: (scope, hidden, batch) => head.apply(scope, hidden, labels === 0 ? V : labels, batch),
  };
}

const padding = paddingAtZero(null, "model.embed_tokens.weight");

const familyOf = (type: string, relative: Relative): Family => ({
  type,
  prefix: "model",
  computed: /(^|\.)rotary_emb\.inv_freq$/,
  otherHeads: /^(lm_head|score)\./,
  build: (json, options) => build(type, relative, json, options),
  init: (parameter, json, common) =>
    relative.centred === true && parameter.roles.includes("norm") ? zeros : padding(parameter, json, common),
});

/** Llama 2 and 3, TinyLlama, SmolLM; Mistral; Qwen2 and 2.5; Qwen3; SmolLM3; Gemma. */
export const llamas: readonly Family[] = Object.entries(relatives).map(([type, relative]) => familyOf(type, relative));
