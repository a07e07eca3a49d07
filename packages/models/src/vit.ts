/**
 * @file ViT: an image cut into patches that are read like the tokens of a text, by pre-norm blocks.
 * @see Dosovitskiy et al. 2021; HF `modeling_vit.py`.
 */
import type { Scope } from "@graftml/peft";
import { add, cast, concat, fill, gather, linear as product, reshape, type Tensor, transpose } from "@graftml/tensor";
import { z } from "zod";
import { absent, activation, rate, readConfig, size, unquantized } from "./config.ts";
import { dense, encoderModel, selfAttention } from "./encoder.ts";
import type { Family } from "./family.ts";
import { classifier, firstRow, type Head } from "./heads.ts";
import { activations, iota, layer, layerNorm, residual } from "./layers.ts";

/** One length for rows and columns, or one for each. */
const lengths = z.union([size.transform((n): [number, number] => [n, n]), z.tuple([size, size])]);

const schema = z
  .object({
    hidden_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    intermediate_size: size,
    image_size: absent(lengths, [224, 224]),
    patch_size: absent(lengths, [16, 16]),
    num_channels: absent(size, 3),
    hidden_act: absent(activation, "gelu"),
    hidden_dropout_prob: absent(rate, 0),
    attention_probs_dropout_prob: absent(rate, 0),
    layer_norm_eps: absent(z.number().positive(), 1e-12),
    qkv_bias: absent(z.boolean(), true),
    head_dim: size.nullish(),
    quantization_config: unquantized,
  })
  .refine((c) => c.hidden_size % c.num_attention_heads === 0, {
    path: ["num_attention_heads"],
    error: "must divide hidden_size",
  })
  .refine((c) => [c.hidden_size / c.num_attention_heads, null, undefined].includes(c.head_dim), {
    path: ["head_dim"],
    error: "must be hidden_size / num_attention_heads",
  })
  .refine(({ image_size: [Y, X], patch_size: [y, x] }) => Y % y === 0 && X % x === 0, {
    path: ["patch_size"],
    error: "must divide image_size",
  });

type ViTConfig = z.output<typeof schema>;

/** Patches of an image: their rows and columns. */
const gridOf = ({ image_size: [Y, X], patch_size: [y, x] }: ViTConfig): [rows: number, columns: number] => [
  Y / y,
  X / x,
];

/** What stands for patches: pixels [B, C, Y, X] → [B, N, D], N = rows × columns of patches. */
function patches(s: Scope, pixels: Tensor, c: ViTConfig): Tensor {
  const { hidden_size: D, num_channels: C, patch_size } = c;
  const [B = 0] = pixels.shape;
  const [rows, columns] = gridOf(c);
  const [y, x] = patch_size;
  // A convolution whose windows do not overlap is a product; as in PEFT it is none of the linear layers of the model.
  const weight = s.param("weight", [D, C, y, x], ["weight", "embed"]);
  const bias = s.param("bias", [D], ["bias", "embed"]);
  return s.trace.within(s.path, () => {
    const cut = transpose(reshape(pixels, [B, C, rows, y, columns, x]), [0, 2, 4, 1, 3, 5]);
    return product(reshape(cut, [B, rows * columns, C * y * x]), reshape(weight, [D, C * y * x]), bias);
  });
}

/** Patches behind the class token, with their positions: [B, 1 + N, D] */
function embeddings(s: Scope, pixels: Tensor, c: ViTConfig): Tensor {
  const D = c.hidden_size;
  const { trace } = s;
  const seen = patches(s.at("patch_embeddings.projection"), pixels, c);
  const [B = 0, N = 0] = seen.shape;
  const first = s.param("cls_token", [1, 1, D], ["weight", "embed"]);
  const table = s.param("position_embeddings", [1, 1 + N, D], ["weight", "embed"]);
  const token = trace.within(s.path, () => gather(reshape(first, [1, D]), cast(fill(trace, [B, 1], 0), "i32")));
  return layer(s, "embed", concat([token, seen], 1), (h) => {
    const places = cast(reshape(iota(trace, 1 + N), [1, 1 + N]), "i32");
    return s.at("dropout").dropout(add(h, gather(reshape(table, [1 + N, D]), places)), c.hidden_dropout_prob);
  });
}

function attention(s: Scope, h: Tensor, c: ViTConfig): Tensor {
  const heads = selfAttention(
    s,
    h,
    {
      projections: ["q_proj", "k_proj", "v_proj"],
      bias: c.qkv_bias,
      heads: c.num_attention_heads,
      dropout: c.attention_probs_dropout_prob,
    },
    { mask: null },
  ); // [B, T, H, E]
  return dense(s.at("o_proj"), reshape(heads, h.shape), "attn.o", c.hidden_size);
}

function feedForward(s: Scope, h: Tensor, c: ViTConfig): Tensor {
  const wide = dense(s.at("fc1"), h, "mlp.up", c.intermediate_size); // [B, T, F]
  const inner = s.trace.within(s.path, () => activations[c.hidden_act](wide));
  return dense(s.at("fc2"), inner, "mlp.down", c.hidden_size);
}

const block = (s: Scope, h: Tensor, c: ViTConfig): Tensor =>
  layer(s, "block", h, (x) => {
    const [attn, mlp] = [s.at("attention"), s.at("mlp")];
    const norm = (name: string, z: Tensor): Tensor => layerNorm(s.at(name), z, c.layer_norm_eps);
    const dropped = (at: string, z: Tensor): Tensor => s.at(at).dropout(z, c.hidden_dropout_prob);
    const y = residual(attn, "attn", x, dropped("dropout.0", attention(attn, norm("layernorm_before", x), c)));
    return residual(mlp, "mlp", y, dropped("dropout.1", feedForward(mlp, norm("layernorm_after", y), c)));
  });

const heads: Readonly<Record<string, Head>> = {
  "image-classification": {
    architecture: "ViTForImageClassification",
    outputs: "labels",
    apply: (scope, h, labels, batch) => classifier(scope.at("classifier"), firstRow(h, batch), labels),
  },
};

/** What files call modules, and what they are called by now; in this order, each once. */
const renamed = [
  ["encoder.layer.", "layers."],
  ["attention.query", "q_proj"],
  ["attention.key", "k_proj"],
  ["attention.value", "v_proj"],
  ["attention.output.dense", "attention.o_proj"],
  ["intermediate.dense", "mlp.fc1"],
  ["output.dense", "mlp.fc2"],
] as const;

/** ViT of every size. */
export const vit: Family = {
  type: "vit",
  prefix: "vit",
  otherHeads: /^(classifier|decoder)\.|(^|\.)(pooler\.|embeddings\.mask_token$)/,
  rename: (name) => renamed.reduce((n, [old, now]) => n.replace(old, now), name),
  build(json, options) {
    const { dropout, file } = options;
    const read = readConfig(schema, json, file);
    const c =
      dropout === "config" ? read : { ...read, hidden_dropout_prob: dropout, attention_probs_dropout_prob: dropout };
    const [rows, columns] = gridOf(c);
    return encoderModel(
      {
        facts: {
          type: "vit",
          layers: c.num_hidden_layers,
          hidden: c.hidden_size,
          heads: c.num_attention_heads,
          vocabulary: 0,
          maxLength: 1 + rows * columns,
        },
        heads,
        inputs: (trace, { batch }) => ({
          ids: trace.input("pixels", [batch, c.num_channels, ...c.image_size]),
          positions: null,
          mask: null,
        }),
        forward(scope, { ids: pixels }) {
          const s = scope.at("vit");
          let h = embeddings(s.at("embeddings"), pixels, c);
          for (let i = 0; i < c.num_hidden_layers; i++) h = block(s.at(`layers.${i}`), h, c);
          return layerNorm(s.at("layernorm"), h, c.layer_norm_eps);
        },
      },
      json,
      options,
    );
  },
};
