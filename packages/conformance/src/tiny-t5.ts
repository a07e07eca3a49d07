/** @file A small encoder-decoder. Names and arithmetic are those of transformers. */
import type { Heads, Model, Scope } from "@graftml/peft";
import { cast, gather, relu, reshape, rmsNorm, scale, type Tensor, transpose } from "@graftml/tensor";
import { attend, infoOf, keyMask, layer, residual, type Sizes, tiny, unembed } from "./parts.ts";

/** Distances that the position bias tells apart: 0, 1, 2, and everything further. */
const BUCKETS = 4;

/** What an encoder made of a text. */
interface Encoded {
  /** [B, T, D] */
  readonly h: Tensor;
  /** [B, T] */
  readonly mask: Tensor;
}

/**
 * T5 in small: an encoder and a decoder on one token table, RMS norms before every sublayer, a bias for distances that the
 * blocks of a stack share, cross-attention, no biases, a tied head. HF `modeling_t5.py`.
 */
export function tinyT5({ sizes = tiny }: { readonly sizes?: Sizes } = {}): Model {
  const { hidden: D, inner: F, heads: H, vocabulary: V, layers } = sizes;
  const E = D / H;
  const norm = (s: Scope, x: Tensor): Tensor =>
    rmsNorm(x, s.at("layer_norm").param("weight", [D], ["weight", "norm"]), { eps: 1e-6 });
  const attn = (
    s: Scope,
    h: Tensor,
    from: Tensor,
    role: "attn" | "cross",
    rest: Omit<Heads, "q" | "k" | "v">,
  ): Tensor => {
    const [B = 0, T = 0] = h.shape;
    const heads = (name: string, x: Tensor): Tensor =>
      reshape(s.at(name).linear(x, { roles: [`${role}.${name}`], in: D, out: D }), [B, x.shape[1] ?? 0, H, E]);
    const y = attend(s, { q: heads("q", h), k: heads("k", from), v: heads("v", from), ...rest }, { role, scale: 1 });
    return s.at("o").linear(reshape(y, [B, T, D]), { roles: [`${role}.o`], in: D, out: D });
  };
  const mlp = (s: Scope, h: Tensor): Tensor => {
    const wide = relu(s.at("wi").linear(h, { roles: ["mlp.up"], in: D, out: F })); // [B, T, F]
    return s.at("wo").linear(wide, { roles: ["mlp.down"], in: F, out: D });
  };
  /** For queries that are the last T of S places: [1, H, T, S]. */
  const biasOf =
    (s: Scope, T: number) =>
    (S: number): Tensor => {
      const table = s.at("block.0.layer.0.SelfAttention.relative_attention_bias").param("weight", [BUCKETS, H]);
      const apart = s.trace.constant(`distances ${T}×${S}`, [T, S], () =>
        Float32Array.from({ length: T * S }, (_, i) => {
          const distance = Math.abs(Math.floor(i / S) + S - T - (i % S));
          return Math.min(distance, BUCKETS - 1);
        }),
      );
      return reshape(transpose(gather(table, cast(apart, "i32")), [2, 0, 1]), [1, H, T, S]);
    };
  /** A stack over hidden states of its tokens; a decoder's looks at what the encoder made, too. */
  const stack = (s: Scope, tokens: Tensor, own: Omit<Heads, "q" | "k" | "v">, encoded: Encoded | null): Tensor => {
    let h = layer(s.at("embed_tokens"), "embed", tokens, (x) => x);
    const bias = biasOf(s, h.shape[1] ?? 0);
    for (let i = 0; i < layers; i++) {
      const b = s.at(`block.${i}`);
      h = layer(b, "block", h, (x) => {
        const [first, second, third] = [b.at("layer.0"), b.at("layer.1"), b.at("layer.2")];
        const [self, cross] = [first.at("SelfAttention"), second.at("EncDecAttention")];
        const normed = norm(first, x);
        const y = residual(self, "attn", x, attn(self, normed, normed, "attn", { ...own, bias }));
        const last = encoded === null ? second : third;
        const rest = encoded && { mask: encoded.mask, causal: false };
        const z = rest ? residual(cross, "cross", y, attn(cross, norm(second, y), encoded.h, "cross", rest)) : y;
        return residual(last.at("DenseReluDense"), "mlp", z, mlp(last.at("DenseReluDense"), norm(last, z)));
      });
    }
    return h;
  };
  const embed = (root: Scope, s: Scope, ids: Tensor): Tensor =>
    s
      .at("embed_tokens")
      .call("embedding", { roles: ["embed"], in: V, out: D, weight: "shared.weight" }, ids, (x) =>
        gather(root.at("shared").param("weight", [V, D], ["weight", "embed", "unembed"]), x),
      );
  const final = (s: Scope, x: Tensor): Tensor =>
    rmsNorm(x, s.at("final_layer_norm").param("weight", [D], ["weight", "norm"]), { eps: 1e-6 });
  return {
    info: infoOf("t5", "T5ForConditionalGeneration", sizes, { keyHeads: H, task: "seq2seq-lm", decoderStart: 0 }),
    inputs: (trace, { batch, length, target = length }) => ({
      ids: trace.input("ids", [batch, length], "i32"),
      positions: null,
      mask: trace.input("mask", [batch, length]),
      decoder: trace.input("decoder_ids", [batch, target], "i32"),
    }),
    forward(scope, { ids, mask, decoder }) {
      if (mask === null || decoder === undefined || decoder === null)
        throw new TypeError("a T5 reads masks and what its decoder is to write on");
      const [encoder, write] = [scope.at("encoder"), scope.at("decoder")];
      const read = embed(scope, encoder, ids); // [B, T', D]
      const seen = keyMask(mask, read);
      const h = final(encoder, stack(encoder, read, { mask: seen, causal: false }, null)); // [B, T', D]
      const y = stack(write, embed(scope, write, decoder), { mask: null, causal: true }, { h, mask: seen }); // [B, U', D]
      return layer(write.at("final_layer_norm"), "unembed", y, (x) => final(write, x));
    },
    head: (scope, h) => unembed(scope, scale(h, D ** -0.5), V, { weight: "shared.weight" }),
  };
}
