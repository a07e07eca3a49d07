/** @file A small encoder that judges texts. Names and arithmetic are those of transformers. */
import type { Model, Scope } from "@graftml/peft";
import { add, concat, fill, gather, geluErf, layerNorm, reshape, slice, tanh, type Tensor } from "@graftml/tensor";
import { attend, embedding, infoOf, keyMask, layer, positions, residual, type Sizes, tiny } from "./parts.ts";

/** Classes that it tells apart. */
const LABELS = 3;

/**
 * BERT in small: token types, layer norms after every add, biases everywhere, a padding mask, a pooler and a classifier that
 * starts from nothing. HF `modeling_bert.py`, `BertForSequenceClassification`.
 */
export function tinyBert({ sizes = tiny }: { readonly sizes?: Sizes } = {}): Model {
  const { hidden: D, inner: F, heads: H, positions: P } = sizes;
  const norm = (s: Scope, x: Tensor, ...roles: readonly string[]): Tensor =>
    layerNorm(
      x,
      s.param("weight", [D], ["weight", "norm", ...roles]),
      s.param("bias", [D], ["bias", "norm", ...roles]),
      {
        eps: 1e-12,
      },
    );
  const dense = (s: Scope, x: Tensor, role: string, out: number): Tensor =>
    s.linear(x, { roles: [role], in: x.shape.at(-1) ?? 0, out, bias: true });
  const attn = (s: Scope, h: Tensor, mask: Tensor): Tensor => {
    const [B = 0, T = 0] = h.shape;
    const heads = (name: string, role: string): Tensor =>
      reshape(dense(s.at("self").at(name), h, role, D), [B, T, H, D / H]);
    const [q, k, v] = [heads("query", "attn.q"), heads("key", "attn.k"), heads("value", "attn.v")]; // [B, T, H, E]
    const y = attend(s.at("self"), { q, k, v, mask: keyMask(mask, h), causal: false });
    const branch = dense(s.at("output.dense"), reshape(y, [B, T, D]), "attn.o", D);
    return residual(s, "attn", h, branch, (x) => norm(s.at("output.LayerNorm"), x));
  };
  const mlp = (s: Scope, h: Tensor): Tensor => {
    const wide = geluErf(dense(s.at("intermediate.dense"), h, "mlp.up", F)); // [B, T, F]
    const branch = dense(s.at("output.dense"), wide, "mlp.down", D);
    return residual(s.at("output"), "mlp", h, branch, (x) => norm(s.at("output.LayerNorm"), x));
  };
  return {
    info: infoOf("bert", "BertForSequenceClassification", sizes, {
      keyHeads: H,
      task: "sequence-classification",
      labels: LABELS,
    }),
    inputs: (trace, { batch, length }) => ({
      ids: trace.input("ids", [batch, length], "i32"),
      positions: null,
      mask: trace.input("mask", [batch, length]),
      types: trace.input("types", [batch, length], "i32"),
    }),
    forward(scope, { ids, mask, types }) {
      if (mask === null || types === undefined || types === null) throw new TypeError("a BERT reads masks and types");
      const s = scope.at("bert");
      const e = s.at("embeddings");
      const tokens = embedding(e.at("word_embeddings"), ids, sizes, false); // [B, T', D]
      const at = positions(e.at("position_embeddings"), tokens);
      const [B = 0, T = 0] = tokens.shape;
      const lead = T - (types.shape[1] ?? 0); // rows that a method put before the tokens are of the first text
      const kinds = e.at("token_type_embeddings").param("weight", [2, D], ["weight", "embed"]);
      const first = add(slice(kinds, 0, 0, 1), fill(scope.trace, [B, lead, D], 0)); // [B, lead, D]
      const typed = lead === 0 ? gather(kinds, types) : concat([first, gather(kinds, types)], 1); // [B, T', D]
      let h = layer(e, "embed", tokens, (x) => {
        const placed = add(x, gather(e.at("position_embeddings").param("weight", [P, D], ["weight", "embed"]), at));
        return norm(e.at("LayerNorm"), add(placed, typed), "embed");
      });
      for (let i = 0; i < sizes.layers; i++) {
        const b = s.at(`encoder.layer.${i}`);
        h = layer(b, "block", h, (x) => mlp(b, attn(b.at("attention"), x, mask)));
      }
      return h;
    },
    head(scope, h) {
      const [B = 0] = h.shape;
      const pooled = tanh(dense(scope.at("bert.pooler.dense"), reshape(slice(h, 1, 0, 1), [B, D]), "pooler", D));
      return dense(scope.at("classifier"), pooled, "head", LABELS);
    },
  };
}
