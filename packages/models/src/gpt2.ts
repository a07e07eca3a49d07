/**
 * @file GPT-2: pre-norm blocks with learned positions, one fused projection for queries, keys and values, and biases.
 * @see Radford et al. 2019; HF `modeling_gpt2.py`.
 */
import { type JsonObject, type Model, normal, type Scope } from "@graftml/peft";
import { add, gather, reshape, split, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { absent, activation, only, rate, readConfig, size, unquantized } from "./config.ts";
import { decoderHeads, decoderInputs } from "./decoder-heads.ts";
import type { BuildOptions, Family } from "./family.ts";
import { chooseHead } from "./heads.ts";
import { activations, attend, embedding, keyMask, layer, layerNorm, linear, positions, residual } from "./layers.ts";

const schema = z
  .object({
    vocab_size: size,
    n_positions: size,
    n_embd: size,
    n_layer: size,
    n_head: size,
    n_inner: size.nullish(),
    activation_function: absent(activation, "gelu_new"),
    layer_norm_epsilon: absent(z.number().positive(), 1e-5),
    initializer_range: absent(z.number().min(0), 0.02),
    embd_pdrop: absent(rate, 0.1),
    resid_pdrop: absent(rate, 0.1),
    attn_pdrop: absent(rate, 0.1),
    classifier_dropout: rate.nullish(),
    scale_attn_weights: absent(z.boolean(), true),
    scale_attn_by_inverse_layer_idx: absent(z.boolean(), false),
    tie_word_embeddings: absent(z.boolean(), true),
    add_cross_attention: only(false),
    quantization_config: unquantized,
  })
  .refine((c) => c.n_embd % c.n_head === 0, { path: ["n_head"], error: "must divide n_embd" });

type Gpt2Config = z.output<typeof schema>;

/** What the attention of a block is told besides its input. */
interface Scores {
  /** Factor on the scores before the softmax. */
  readonly scale: number;
  /** [B, T] or null; `packed` says what it holds. */
  readonly mask: Tensor | null;
  readonly packed: boolean;
}

function selfAttention(s: Scope, h: Tensor, c: Gpt2Config, { scale, mask, packed }: Scores): Tensor {
  const [B = 0, T = 0] = h.shape;
  const { n_embd: D, n_head: H, resid_pdrop } = c;
  const E = D / H;
  const roles = ["attn.q", "attn.k", "attn.v"];
  const qkv = linear(s.at("c_attn"), h, { roles, out: 3 * D, bias: true, transposed: true }); // [B, T, 3D]
  const [q, k, v] = s.trace.within(s.path, () =>
    split(qkv, 2, [D, D, D]).map((part) => reshape(part, [B, T, H, E])),
  ) as [Tensor, Tensor, Tensor]; // as many as lengths
  const heads = attend(s, { q, k, v, mask, packed, causal: true }, { scale, dropout: c.attn_pdrop }); // [B, T, H, E]
  const out = linear(s.at("c_proj"), reshape(heads, [B, T, D]), {
    roles: ["attn.o"],
    out: D,
    bias: true,
    transposed: true,
  });
  return s.at("resid_dropout").dropout(out, resid_pdrop);
}

function feedForward(s: Scope, h: Tensor, c: Gpt2Config): Tensor {
  const { n_embd: D, n_inner, resid_pdrop } = c;
  const wide = linear(s.at("c_fc"), h, { roles: ["mlp.up"], out: n_inner ?? 4 * D, bias: true, transposed: true }); // [B, T, F]
  const inner = s.trace.within(s.path, () => activations[c.activation_function](wide));
  const out = linear(s.at("c_proj"), inner, { roles: ["mlp.down"], out: D, bias: true, transposed: true });
  return s.at("dropout").dropout(out, resid_pdrop);
}

const block = (s: Scope, h: Tensor, c: Gpt2Config, scores: Scores): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("attn"), s.at("mlp")];
    const y = residual(
      attn,
      "attn",
      x,
      selfAttention(attn, layerNorm(s.at("ln_1"), x, c.layer_norm_epsilon), c, scores),
    );
    return residual(mlp, "mlp", y, feedForward(mlp, layerNorm(s.at("ln_2"), y, c.layer_norm_epsilon), c));
  });

function build(json: JsonObject, options: BuildOptions): Model {
  const { dropout, file, task } = options;
  const read = readConfig(schema, json, file);
  const rates = { embd_pdrop: dropout, resid_pdrop: dropout, attn_pdrop: dropout, classifier_dropout: dropout };
  const c = dropout === "config" ? read : { ...read, ...(rates as Record<keyof typeof rates, number>) }; // it is a number
  const { vocab_size: V, n_embd: D, n_positions: P, n_head: H } = c;
  const tied = c.tie_word_embeddings ? "transformer.wte.weight" : null;
  const names = { name: "GPT2", causal: "GPT2LMHeadModel", tokens: "classifier" };
  const heads = decoderHeads({ ...names, tied, dropout: c.classifier_dropout ?? null });
  const { head, labels, config } = chooseHead(heads, "gpt2", json, options);
  const scaleOf = (i: number): number =>
    (c.scale_attn_weights ? Math.sqrt(H / D) : 1) / (c.scale_attn_by_inverse_layer_idx ? i + 1 : 1);
  return {
    info: {
      type: "gpt2",
      architecture: head.architecture,
      task,
      labels,
      layers: c.n_layer,
      hidden: D,
      heads: H,
      keyHeads: H,
      headWidth: D / H,
      vocabulary: V,
      maxLength: P,
      config,
    },
    inputs: (trace, size) => decoderInputs(trace, size, P, head),
    forward(scope, batch) {
      const s = scope.at("transformer");
      const shared = tied !== null && head.outputs === "tokens";
      const tokens = embedding(s.at("wte"), batch.ids, { rows: V, width: D, tied: shared }); // [B, T', D]
      const places = positions(s.at("wpe"), batch.positions, tokens); // [B or 1, T']
      const keys = { mask: keyMask(batch, tokens), packed: batch.packed ?? false };
      let h = layer(s.at("drop"), "embed", tokens, (x) => {
        const table = s.at("wpe").param("weight", [P, D]);
        return s.at("drop").dropout(add(x, gather(table, places)), c.embd_pdrop);
      });
      for (let i = 0; i < c.n_layer; i++) h = block(s.at(`h.${i}`), h, c, { scale: scaleOf(i), ...keys });
      return layer(s.at("ln_f"), "unembed", h, (x) => layerNorm(s.at("ln_f"), x, c.layer_norm_epsilon));
    },
    head: (scope, hidden, batch) => head.apply(scope, hidden, labels === 0 ? V : labels, batch),
  };
}

/** GPT-2 of every size, DistilGPT-2 and minGPT. */
export const gpt2: Family = {
  type: "gpt2",
  prefix: "transformer",
  computed: /(^|\.)attn\.(masked_)?bias$/,
  otherHeads: /^(lm_head|score|classifier)\./,
  build,
  // What is added to the residual stream starts smaller in deeper models (Radford et al. 2019, §2.3).
  init: ({ path }, json, common) => {
    const { initializer_range, n_layer } = readConfig(schema, json, "config.json");
    return path.endsWith(".c_proj.weight") ? normal(initializer_range / Math.sqrt(2 * n_layer)) : common;
  },
};
