import lora from "@graftml/lora";
import {
  activations,
  buildModel,
  chooseHead,
  decoderHeads,
  decoderInputs,
  embedding,
  type Family,
  layer,
  layerNorm,
  linear,
  readConfig,
  residual,
  size,
} from "@graftml/models";
import { adapt, type Scope, sites, z } from "@graftml/peft";
import type { Tensor } from "@graftml/tensor";

const schema = z.object({ vocab_size: size, width: size, blocks: size, positions: size }); // keys of config.json

/** h + W₂ gelu(W₁ norm(h)): [B, T, D] → [B, T, D] */
const block = (s: Scope, h: Tensor, D: number): Tensor =>
  layer(s, "block", h, (x) => {
    const normed = layerNorm(s.at("norm"), x, 1e-5);
    const inner = activations.gelu(linear(s.at("up"), normed, { roles: ["mlp.up"], out: 4 * D, bias: true })); // [B, T, 4D]
    return residual(s.at("mlp"), "mlp", x, linear(s.at("down"), inner, { roles: ["mlp.down"], out: D, bias: true }));
  });

/** A next-token predictor that sees one token: the smallest decoder there is. */
export const bigram: Family = {
  type: "bigram",
  prefix: "model",
  build(json, options) {
    const c = readConfig(schema, json, options.file);
    const heads = decoderHeads({ name: "Bigram", tied: null, tokens: "score", dropout: null });
    const { head, labels, config } = chooseHead(heads, "bigram", json, options);
    const facts = { layers: c.blocks, hidden: c.width, heads: 1, keyHeads: 1, headWidth: c.width };
    return {
      info: {
        type: "bigram",
        architecture: head.architecture,
        task: options.task,
        labels,
        vocabulary: c.vocab_size,
        maxLength: c.positions,
        config,
        ...facts,
      },
      inputs: (trace, batch) => decoderInputs(trace, batch, c.positions, head),
      forward(scope, batch) {
        const s = scope.at("model");
        let h = embedding(s.at("embed"), batch.ids, { rows: c.vocab_size, width: c.width }); // [B, T, D]
        for (let i = 0; i < c.blocks; i++) h = block(s.at(`layers.${i}`), h, c.width);
        return layer(s.at("norm"), "unembed", h, (x) => layerNorm(s.at("norm"), x, 1e-5));
      },
      head: (scope, hidden, batch) => head.apply(scope, hidden, labels === 0 ? c.vocab_size : labels, batch),
    };
  },
};

const config = { model_type: "bigram", vocab_size: 50, width: 8, blocks: 2, positions: 64 };
const model = buildModel(config, { families: [bigram] });
for (const { kind, path, roles } of sites(model)) console.log(kind, path, roles.join(" "));
console.log(adapt(model, [lora({ target: ["mlp.up"] })]).owned.map(({ name }) => name));
