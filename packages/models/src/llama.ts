/**
 * @file Llama: pre-norm blocks of grouped-query attention with rotary positions and a gated feed-forward.
 * @see Touvron et al. 2023; HF `modeling_llama.py`.
 */
import type { JsonObject, Model, Scope } from "@graftml/peft";
import { mul, reshape, rope, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { absent, activation, only, rate, readConfig, size, unquantized } from "./config.ts";
import type { BuildOptions, Family } from "./family.ts";
import {
  activations,
  attend,
  embedding,
  keyMask,
  layer,
  linear,
  positions,
  residual,
  rmsNorm,
  tokenInputs,
} from "./layers.ts";
import { rotaryTable } from "./rotary.ts";

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
    rope_theta: absent(z.number().positive(), 10_000),
    attention_bias: absent(z.boolean(), false),
    mlp_bias: absent(z.boolean(), false),
    attention_dropout: absent(rate, 0),
    tie_word_embeddings: absent(z.boolean(), false),
    rope_scaling: z.object({ rope_type: only("default"), type: only("default") }).nullish(),
    // transformers 5 writes the base of the wavelengths here.
    rope_parameters: z
      .object({
        rope_type: only("default"),
        rope_theta: z.number().positive().nullish(),
        partial_rotary_factor: only(1),
      })
      .nullish(),
    pretraining_tp: only(1),
    quantization_config: unquantized,
  })
  .transform((c) => ({
    ...c,
    num_key_value_heads: c.num_key_value_heads ?? c.num_attention_heads,
    head_dim: c.head_dim ?? c.hidden_size / c.num_attention_heads,
    rope_theta: c.rope_parameters?.rope_theta ?? c.rope_theta,
  }))
  .refine((c) => c.head_dim % 2 === 0, {
    path: ["head_dim"],
    error: "must be even (hidden_size / num_attention_heads where it is absent)",
  })
  .refine((c) => c.num_attention_heads % c.num_key_value_heads === 0, {
    path: ["num_key_value_heads"],
    error: "must divide num_attention_heads",
  });

type LlamaConfig = z.output<typeof schema>;

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

function selfAttention(s: Scope, h: Tensor, c: LlamaConfig, { positions, table, mask, packed }: Sequence): Tensor {
  const [B = 0, T = 0, D = 0] = h.shape;
  const { num_attention_heads: H, num_key_value_heads: G, head_dim: E, attention_bias: bias } = c;
  const project = (name: string, role: string, heads: number): Tensor =>
    reshape(linear(s.at(name), h, { roles: [role], out: heads * E, bias }), [B, T, heads, E]);
  const rotate = (x: Tensor): Tensor => s.trace.within(s.path, () => rope(x, positions, table));
  const q = rotate(project("q_proj", "attn.q", H)); // [B, T, H, E]
  const k = rotate(project("k_proj", "attn.k", G)); // [B, T, G, E]
  const v = project("v_proj", "attn.v", G); // [B, T, G, E]
  const heads = attend(
    s,
    { q, k, v, mask, packed, causal: true },
    { scale: 1 / Math.sqrt(E), dropout: c.attention_dropout },
  );
  return linear(s.at("o_proj"), reshape(heads, [B, T, H * E]), { roles: ["attn.o"], out: D, bias });
}

function feedForward(s: Scope, h: Tensor, c: LlamaConfig): Tensor {
  const { intermediate_size: F, mlp_bias: bias } = c;
  const gate = linear(s.at("gate_proj"), h, { roles: ["mlp.gate"], out: F, bias }); // [B, T, F]
  const up = linear(s.at("up_proj"), h, { roles: ["mlp.up"], out: F, bias }); // [B, T, F]
  const inner = s.trace.within(s.path, () => mul(activations[c.hidden_act](gate), up));
  return linear(s.at("down_proj"), inner, { roles: ["mlp.down"], out: c.hidden_size, bias });
}

const block = (s: Scope, h: Tensor, c: LlamaConfig, sequence: Sequence): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("self_attn"), s.at("mlp")];
    const y = residual(
      attn,
      "attn",
      x,
      selfAttention(attn, rmsNorm(s.at("input_layernorm"), x, c.rms_norm_eps), c, sequence),
    );
    return residual(mlp, "mlp", y, feedForward(mlp, rmsNorm(s.at("post_attention_layernorm"), y, c.rms_norm_eps), c));
  });

function build(json: JsonObject, { task, dropout, file }: BuildOptions): Model {
  const config = readConfig(schema, json, file);
  const c = dropout === "config" ? config : { ...config, attention_dropout: dropout };
  const { vocab_size: V, hidden_size: D, max_position_embeddings: P } = c;
  const tied = c.tie_word_embeddings ? { weight: "model.embed_tokens.weight" } : {};
  return {
    info: {
      type: "llama",
      architecture: "LlamaForCausalLM",
      task,
      labels: 0,
      layers: c.num_hidden_layers,
      hidden: D,
      heads: c.num_attention_heads,
      keyHeads: c.num_key_value_heads,
      headWidth: c.head_dim,
      vocabulary: V,
      maxLength: P,
      config: json,
    },
    inputs: (trace, size) => tokenInputs(trace, size, P),
    forward(scope, batch) {
      const s = scope.at("model");
      const tokens = embedding(s.at("embed_tokens"), batch.ids, { rows: V, width: D, tied: c.tie_word_embeddings }); // [B, T', D]
      const sequence: Sequence = {
        positions: positions(s.at("rotary_emb"), batch.positions, tokens),
        table: rotaryTable(s.trace, { positions: P, width: c.head_dim, theta: c.rope_theta }),
        mask: keyMask(batch, tokens),
        packed: batch.packed ?? false,
      };
      let h = layer(s.at("embed_tokens"), "embed", tokens, (x) => x);
      for (let i = 0; i < c.num_hidden_layers; i++) h = block(s.at(`layers.${i}`), h, c, sequence);
      return layer(s.at("norm"), "unembed", h, (x) => rmsNorm(s.at("norm"), x, c.rms_norm_eps));
    },
    head: (scope, hidden) => linear(scope.at("lm_head"), hidden, { roles: ["unembed"], out: V, bias: false, ...tied }),
  };
}

/** Llama and what shares its forward pass: Llama 2, TinyLlama, SmolLM. */
export const llama: Family = {
  type: "llama",
  prefix: "model",
  computed: /(^|\.)rotary_emb\.inv_freq$/,
  build,
  // torch keeps the row of the padding token at zero.
  init: ({ roles }, { pad_token_id: pad }, common) =>
    roles.includes("embed") && typeof pad === "number"
      ? async (shape, rng, base) => {
          const values = Float32Array.from(await common(shape, rng, base));
          const width = shape[1] ?? 0;
          return values.fill(0, pad * width, (pad + 1) * width);
        }
      : common,
};
