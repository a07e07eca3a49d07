/** @file Reading the config.json of DeBERTa, all versions. */
import { z } from "zod";
import { absent, activation, only, rate, size } from "./config.ts";
import type { Distances } from "./disentangled.ts";
import { encoderKeys } from "./encoder.ts";

/** What looks at what: content at positions, positions at content. */
const looks = z.array(z.enum(["c2p", "p2c"]));

/** What any version's configuration may say; each refuses what only others do. */
export const debertaSchema = z
  .object({
    ...encoderKeys,
    layer_norm_eps: absent(z.number().positive(), 1e-7),
    type_vocab_size: absent(z.int().min(0), 0),
    position_biased_input: absent(z.boolean(), true),
    relative_attention: absent(z.boolean(), false),
    max_relative_positions: absent(z.int(), -1),
    pos_att_type: absent(
      z.union([
        looks,
        z
          .string()
          .transform((text) => text.split("|").map((word) => word.trim()))
          .pipe(looks),
      ]),
      [],
    ),
    position_buckets: absent(z.int(), -1),
    share_att_key: absent(z.boolean(), false),
    norm_rel_ebd: absent(z.enum(["none", "layer_norm"]), "none"),
    pooler_hidden_act: absent(activation, "gelu"),
    pooler_dropout: absent(rate, 0),
    cls_dropout: rate.nullish(),
    legacy: absent(z.boolean(), true),
    conv_kernel_size: absent(z.int().min(0), 0),
    conv_act: absent(activation, "tanh"),
    conv_groups: only(1),
    attention_head_size: size.nullish(),
    embedding_size: size.nullish(),
    pooler_hidden_size: size.nullish(),
  })
  .refine((c) => c.hidden_size % c.num_attention_heads === 0, {
    path: ["num_attention_heads"],
    error: "must divide hidden_size",
  })
  .refine((c) => [c.hidden_size, null, undefined].includes(c.embedding_size), {
    path: ["embedding_size"],
    error: "only hidden_size is supported",
  })
  .refine((c) => [c.hidden_size, null, undefined].includes(c.pooler_hidden_size), {
    path: ["pooler_hidden_size"],
    error: "must be hidden_size",
  })
  .refine((c) => [c.hidden_size / c.num_attention_heads, null, undefined].includes(c.attention_head_size), {
    path: ["attention_head_size"],
    error: "must be hidden_size / num_attention_heads",
  })
  .refine((c) => c.conv_kernel_size === 0 || c.conv_kernel_size % 2 === 1, {
    path: ["conv_kernel_size"],
    error: "must be odd, or 0 for none",
  })
  .refine((c) => !c.relative_attention || c.pos_att_type.length > 0, {
    path: ["pos_att_type"],
    error: 'relative_attention needs "c2p", "p2c" or both',
  })
  .transform((c) => {
    const max = c.max_relative_positions < 1 ? c.max_position_embeddings : c.max_relative_positions;
    const distances: Distances =
      c.position_buckets > 0
        ? { span: c.position_buckets, buckets: { mid: Math.floor(c.position_buckets / 2), max } }
        : { span: max, buckets: null };
    return { ...c, distances, cls_dropout: c.cls_dropout ?? c.hidden_dropout_prob };
  });

export type DebertaConfig = z.output<typeof debertaSchema>;
