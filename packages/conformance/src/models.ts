/**
 * @file Two small decoders with the parts that methods meet: separate and fused projections, grouped queries, biases, weights
 * that Hugging Face stores transposed, a tied head. Names and arithmetic are those of transformers.
 */
import type { Model, Scope } from "@graftml/peft";
import {
  add,
  gather,
  gelu,
  layerNorm,
  mul,
  reshape,
  rmsNorm,
  rope,
  silu,
  slice,
  type Tensor,
  type Trace,
} from "@graftml/tensor";
import { attend, embedding, infoOf, layer, positions, residual, type Sizes, tiny, unembed } from "./parts.ts";

const inputs: Model["inputs"] = (trace, { batch, length }) => ({
  ids: trace.input("ids", [batch, length], "i32"),
  positions: null,
  mask: null,
});

/** Llama in small: RMS norms, rotary positions, grouped queries, a gated feed-forward. HF `modeling_llama.py`. */
export function tinyLlama({
  tied = false,
  sizes = tiny,
  factor = 1,
}: { readonly tied?: boolean; readonly sizes?: Sizes; readonly factor?: number } = {}): Model {
  const { hidden: D, inner: F, heads: H, keyHeads: G, vocabulary: V } = sizes;
  const E = D / H;
  const norm = (s: Scope, x: Tensor): Tensor => rmsNorm(x, s.param("weight", [D], ["weight", "norm"]), { eps: 1e-6 });
  const attn = (s: Scope, h: Tensor, at: Tensor): Tensor => {
    const [B = 0, T = 0] = h.shape;
    const heads = (name: string, role: string, n: number): Tensor =>
      reshape(s.at(name).linear(h, { roles: [role], in: D, out: n * E }), [B, T, n, E]);
    const turned = (x: Tensor): Tensor => rope(x, at, angles(s.trace, sizes.positions, E));
    const q = turned(heads("q_proj", "attn.q", H)); // [B, T, H, E]
    const k = turned(heads("k_proj", "attn.k", G)); // [B, T, G, E]
    const y = attend(s, { q, k, v: heads("v_proj", "attn.v", G), mask: null, causal: true }); // [B, T, H, E]
    return s.at("o_proj").linear(reshape(y, [B, T, D]), { roles: ["attn.o"], in: D, out: D });
  };
  const mlp = (s: Scope, h: Tensor): Tensor => {
    const gate = s.at("gate_proj").linear(h, { roles: ["mlp.gate"], in: D, out: F });
    const up = s.at("up_proj").linear(h, { roles: ["mlp.up"], in: D, out: F });
    return s.at("down_proj").linear(mul(silu(gate), up), { roles: ["mlp.down"], in: F, out: D });
  };
  return {
    info: infoOf("llama", "LlamaForCausalLM", sizes),
    inputs,
    forward(scope, { ids }) {
      const s = scope.at("model");
      const tokens = embedding(s.at("embed_tokens"), ids, sizes, tied, factor); // [B, T, D]
      const at = positions(s.at("rotary_emb"), tokens);
      let h = layer(s.at("embed_tokens"), "embed", tokens, (x) => x);
      for (let i = 0; i < sizes.layers; i++) {
        const b = s.at(`layers.${i}`);
        h = layer(b, "block", h, (x) => {
          const y = residual(
            b.at("self_attn"),
            "attn",
            x,
            attn(b.at("self_attn"), norm(b.at("input_layernorm"), x), at),
          );
          return residual(b.at("mlp"), "mlp", y, mlp(b.at("mlp"), norm(b.at("post_attention_layernorm"), y)));
        });
      }
      return layer(s.at("norm"), "unembed", h, (x) => norm(s.at("norm"), x));
    },
    head: (scope, h) => unembed(scope, h, V, tied ? { weight: "model.embed_tokens.weight" } : {}),
  };
}

/** Cosines and sines of every position and frequency, [P, E]. */
const angles = (trace: Trace, P: number, E: number): Tensor =>
  trace.constant(`angles ${P}×${E}`, [P, E], () =>
    Float32Array.from({ length: P * E }, (_, n) => {
      const i = n % E;
      const angle = Math.fround(Math.floor(n / E) * Math.fround(10_000 ** ((-2 * (i % (E / 2))) / E)));
      return i < E / 2 ? Math.cos(angle) : Math.sin(angle);
    }),
  );

/**
 * GPT-2 in small: layer norms, learned positions, one projection for queries, keys and values, biases everywhere, weights
 * that files hold as [in, out], a tied head, dropout of its own while training. HF `modeling_gpt2.py`.
 */
export function tinyGpt2({
  dropout = 0.1,
  sizes = tiny,
}: { readonly dropout?: number; readonly sizes?: Sizes } = {}): Model {
  const { hidden: D, inner: F, heads: H, vocabulary: V } = sizes;
  const norm = (s: Scope, x: Tensor): Tensor =>
    layerNorm(x, s.param("weight", [D], ["weight", "norm"]), s.param("bias", [D], ["bias", "norm"]), { eps: 1e-5 });
  const conv = (s: Scope, x: Tensor, roles: readonly string[], out: number): Tensor =>
    s.linear(x, { roles, in: x.shape.at(-1) ?? 0, out, bias: true, transposed: true });
  const attn = (s: Scope, h: Tensor): Tensor => {
    const [B = 0, T = 0] = h.shape;
    const fused = conv(s.at("c_attn"), h, ["attn.q", "attn.k", "attn.v"], 3 * D); // [B, T, 3D]
    const part = (i: number): Tensor => reshape(slice(fused, 2, i * D, D), [B, T, H, D / H]);
    const y = reshape(attend(s, { q: part(0), k: part(1), v: part(2), mask: null, causal: true }), [B, T, D]);
    return s.at("resid_dropout").dropout(conv(s.at("c_proj"), y, ["attn.o"], D), dropout);
  };
  const mlp = (s: Scope, h: Tensor): Tensor => {
    const wide = gelu(conv(s.at("c_fc"), h, ["mlp.up"], F)); // [B, T, F]
    return s.at("dropout").dropout(conv(s.at("c_proj"), wide, ["mlp.down"], D), dropout);
  };
  return {
    info: infoOf("gpt2", "GPT2LMHeadModel", sizes, { keyHeads: H }),
    inputs,
    forward(scope, { ids }) {
      const s = scope.at("transformer");
      const tokens = embedding(s.at("wte"), ids, sizes, true); // [B, T, D]
      const at = positions(s.at("wpe"), tokens);
      let h = layer(s.at("drop"), "embed", tokens, (x) =>
        add(x, gather(s.at("wpe").param("weight", [sizes.positions, D]), at)),
      );
      for (let i = 0; i < sizes.layers; i++) {
        const b = s.at(`h.${i}`);
        h = layer(b, "block", h, (x) => {
          const y = residual(b.at("attn"), "attn", x, attn(b.at("attn"), norm(b.at("ln_1"), x)));
          return residual(b.at("mlp"), "mlp", y, mlp(b.at("mlp"), norm(b.at("ln_2"), y)));
        });
      }
      return layer(s.at("ln_f"), "unembed", h, (x) => norm(s.at("ln_f"), x));
    },
    head: (scope, h) => unembed(scope, h, V, { weight: "transformer.wte.weight" }),
  };
}
