/**
 * @file T5: an encoder and a decoder of pre-norm blocks whose positions are a bias on the scores, learned for buckets of
 * distances; the decoder's blocks also attend to what the encoder made.
 * @see Raffel et al. 2020; Shazeer 2020 (gated feed-forward); HF `modeling_t5.py`.
 */
import {
  type BatchSize,
  type Init,
  type JsonObject,
  type Model,
  normal,
  type Scope,
  type Site,
  type TensorFile,
  type TokenBatch,
} from "@graftml/peft";
import { cast, mul, reshape, scale, ShapeError, shift, sizeOf, type Tensor, type Trace } from "@graftml/tensor";
import { z } from "zod";
import { differ } from "./checkpoint.ts";
import { absent, only, rate, readConfig, size, unquantized } from "./config.ts";
import { type BuildOptions, type Family, headFor } from "./family.ts";
import {
  activations,
  attend,
  embedding,
  iota,
  keyMask,
  layer,
  linear,
  positions,
  residual,
  rmsNorm,
} from "./layers.ts";
import { distanceBias } from "./relative.ts";

/** An activation, or "gated-" and one; by "gated-gelu" the first such checkpoints meant the tanh approximation. */
const feedForwardKind = z.string().transform((name, context) => {
  const inner = name === "gated-gelu" ? "gelu_new" : name.replace(/^gated-/, "");
  const act = Object.entries(activations).find(([known]) => known === inner)?.[1];
  if (act !== undefined) return { act, gated: name.startsWith("gated-") };
  const known = Object.keys(activations).join(", ");
  context.addIssue({ code: "custom", message: `must be one of ${known}, or gated- and one of them` });
  return z.NEVER;
});

const schema = z
  .object({
    vocab_size: size,
    d_model: size,
    d_kv: size,
    d_ff: size,
    num_layers: size,
    num_decoder_layers: size.nullish(),
    num_heads: size,
    relative_attention_num_buckets: absent(size.multipleOf(2).min(4), 32),
    relative_attention_max_distance: absent(size, 128),
    dropout_rate: absent(rate, 0.1),
    layer_norm_epsilon: absent(z.number().positive(), 1e-6),
    feed_forward_proj: absent(feedForwardKind, { act: activations.relu, gated: false }),
    tie_word_embeddings: absent(z.boolean(), true),
    scale_decoder_outputs: z.boolean().nullish(),
    initializer_factor: absent(z.number().min(0), 1),
    decoder_start_token_id: z.int().min(0),
    is_encoder_decoder: only(true),
    quantization_config: unquantized,
  })
  .transform((c) => ({
    ...c,
    num_decoder_layers: c.num_decoder_layers ?? c.num_layers,
    scale_decoder_outputs: c.scale_decoder_outputs ?? c.tie_word_embeddings,
  }))
  .refine((c) => c.relative_attention_max_distance > c.relative_attention_num_buckets / 2, {
    path: ["relative_attention_max_distance"],
    error: "must be above half of relative_attention_num_buckets",
  });

type T5Config = z.output<typeof schema>;

/** What the queries of an attention look at. */
interface Keys {
  /** Hidden states that keys and values are made of, [B, S, D]. */
  readonly source: Tensor;
  /** [B, S] or null. */
  readonly mask: Tensor | null;
  readonly causal: boolean;
  /** By the number of keys, [1 or B, H, T, S]; null in cross-attention, which knows no positions. */
  readonly bias: ((keys: number) => Tensor) | null;
}

function attention(s: Scope, h: Tensor, c: T5Config, role: "attn" | "cross", { source, ...keys }: Keys): Tensor {
  const { num_heads: H, d_kv: E, d_model: D } = c;
  const [B = 0, T = 0] = h.shape;
  const project = (name: "q" | "k" | "v", x: Tensor): Tensor =>
    reshape(linear(s.at(name), x, { roles: [`${role}.${name}`], out: H * E, bias: false }), [B, -1, H, E]);
  const [q, k, v] = [project("q", h), project("k", source), project("v", source)]; // [B, T, H, E], [B, S, H, E] twice
  const heads = attend(s, { q, k, v, ...keys }, { scale: 1, dropout: c.dropout_rate, role }); // [B, T, H, E]
  return linear(s.at("o"), reshape(heads, [B, T, H * E]), { roles: [`${role}.o`], out: D, bias: false });
}

function feedForward(s: Scope, h: Tensor, c: T5Config): Tensor {
  const { d_ff: F, d_model: D } = c;
  const { act, gated } = c.feed_forward_proj;
  const widen = (name: string, role: string): Tensor => linear(s.at(name), h, { roles: [role], out: F, bias: false });
  const inner = gated
    ? s.trace.within(s.path, () => mul(act(widen("wi_0", "mlp.gate")), widen("wi_1", "mlp.up")))
    : s.trace.within(s.path, () => act(widen("wi", "mlp.up"))); // [B, T, F]
  const kept = s.at("dropout").dropout(inner, c.dropout_rate);
  return linear(s.at("wo"), kept, { roles: ["mlp.down"], out: D, bias: false });
}

/** Hugging Face's names of sublayers. */
const modules = { attn: "SelfAttention", cross: "EncDecAttention", mlp: "DenseReluDense" } as const;

/** h and what `body` makes of it, normed. [B, T, D] */
function sublayer(
  s: Scope,
  role: keyof typeof modules,
  h: Tensor,
  c: T5Config,
  body: (s: Scope, x: Tensor) => Tensor,
): Tensor {
  const at = s.at(modules[role]);
  const branch = body(at, rmsNorm(s.at("layer_norm"), h, c.layer_norm_epsilon));
  return residual(at, role, h, s.at("dropout").dropout(branch, c.dropout_rate));
}

/** What the queries of a stack's own attention look at, beside hidden states. */
type Stack = Omit<Keys, "source">;

const encoderBlock = (s: Scope, h: Tensor, c: T5Config, stack: Stack): Tensor =>
  layer(s, "block", h, (x) => {
    const y = sublayer(s.at("layer.0"), "attn", x, c, (at, n) => attention(at, n, c, "attn", { ...stack, source: n }));
    return sublayer(s.at("layer.1"), "mlp", y, c, (at, n) => feedForward(at, n, c));
  });

const decoderBlock = (s: Scope, h: Tensor, c: T5Config, stack: Stack, encoded: Keys): Tensor =>
  layer(s, "block", h, (x) => {
    const y = sublayer(s.at("layer.0"), "attn", x, c, (at, n) => attention(at, n, c, "attn", { ...stack, source: n }));
    const z = sublayer(s.at("layer.1"), "cross", y, c, (at, n) => attention(at, n, c, "cross", encoded));
    return sublayer(s.at("layer.2"), "mlp", z, c, (at, n) => feedForward(at, n, c));
  });

/** The token table's rows as a stack takes them: ids i32 [B, T] → [B, T', D]. */
function embed(scope: Scope, s: Scope, ids: Tensor, c: T5Config): Tensor {
  const at = s.at("embed_tokens");
  const table = { rows: c.vocab_size, width: c.d_model, tied: c.tie_word_embeddings, table: scope.at("shared") };
  return layer(at, "embed", embedding(at, ids, table), (x) => at.dropout(x, c.dropout_rate));
}

const finalNorm = (s: Scope, h: Tensor, c: T5Config): Tensor =>
  s.at("dropout").dropout(rmsNorm(s.at("final_layer_norm"), h, c.layer_norm_epsilon), c.dropout_rate);

/**
 * The position bias that all blocks of a stack share; the first one has its table.
 * @param queries places of the queries among so many keys, i32 [B or 1, T].
 */
function positionBias(
  s: Scope,
  c: T5Config,
  queries: (keys: number) => Tensor,
  bidirectional: boolean,
): (keys: number) => Tensor {
  const at = s.at("block.0.layer.0.SelfAttention.relative_attention_bias");
  const { relative_attention_num_buckets: count, relative_attention_max_distance: maxDistance, num_heads: H } = c;
  const known = new Map<number, Tensor>();
  return (keys) => {
    const bias =
      known.get(keys) ??
      s.trace.within(at.path, () =>
        distanceBias(at.param("weight", [count, H]), queries(keys), keys, { count, maxDistance, bidirectional }),
      );
    known.set(keys, bias);
    return bias;
  };
}

/** [B, S, D]. Keys that a method puts before the tokens stand at the first places. */
function encode(scope: Scope, batch: TokenBatch, c: T5Config): Keys {
  const s = scope.at("encoder");
  let h = embed(scope, s, batch.ids, c); // [B, S, D]
  const T = h.shape[1] ?? 0;
  const queries = (keys: number): Tensor => cast(shift(reshape(iota(s.trace, T), [1, T]), keys - T), "i32");
  const mask = keyMask(batch, h);
  const stack = { mask, causal: false, bias: positionBias(s, c, queries, true) };
  for (let i = 0; i < c.num_layers; i++) h = encoderBlock(s.at(`block.${i}`), h, c, stack);
  return { source: finalNorm(s, h, c), mask, causal: false, bias: null };
}

/** [B, U, D]. Its places are those of the site, because a cached past has no queries of its own. */
function decode(scope: Scope, ids: Tensor, places: Tensor | null, c: T5Config, encoded: Keys): Tensor {
  const s = scope.at("decoder");
  let h = embed(scope, s, ids, c); // [B, U, D]
  const at = s.at("block.0.layer.0.SelfAttention.relative_attention_bias");
  const queries = positions(at, places, h);
  const stack = { mask: null, causal: true, bias: positionBias(s, c, () => queries, false) };
  for (let i = 0; i < c.num_decoder_layers; i++) h = decoderBlock(s.at(`block.${i}`), h, c, stack, encoded);
  return layer(s.at("final_layer_norm"), "unembed", h, (x) => finalNorm(s, x, c));
}

/** The inputs "ids" and "mask" of the encoder, and "decoder_ids". */
function inputs(trace: Trace, { batch, length, target = length, packed = false }: BatchSize): TokenBatch {
  if (packed) throw new ShapeError("an encoder-decoder reads one text a row; turn packing off.");
  return {
    ids: trace.input("ids", [batch, length], "i32"),
    positions: null,
    mask: trace.input("mask", [batch, length]),
    decoder: trace.input("decoder_ids", [batch, target], "i32"),
  };
}

/** A relative of T5. */
interface Relative {
  /** `model_type`. */
  readonly type: string;
  /** transformers' classes begin with it. */
  readonly name: string;
  /** What absent keys mean. */
  readonly absent?: JsonObject;
  /** Keys that are so whatever config.json says. */
  readonly always?: JsonObject;
}

const read = ({ absent, always }: Relative, json: JsonObject, file = "config.json"): T5Config =>
  readConfig(schema, { ...absent, ...json, ...always }, file);

function build(relative: Relative, json: JsonObject, options: BuildOptions): Model {
  const config = read(relative, json, options.file);
  const c = options.dropout === "config" ? config : { ...config, dropout_rate: options.dropout };
  const { type, name } = relative;
  const architecture = headFor({ "seq2seq-lm": `${name}ForConditionalGeneration` }, type, options);
  const { vocab_size: V, d_model: D } = c;
  const tied = c.tie_word_embeddings ? { weight: "shared.weight" } : {};
  return {
    info: {
      type,
      architecture,
      task: options.task,
      labels: 0,
      decoderStart: c.decoder_start_token_id,
      layers: Math.max(c.num_layers, c.num_decoder_layers),
      hidden: D,
      heads: c.num_heads,
      keyHeads: c.num_heads,
      headWidth: c.d_kv,
      vocabulary: V,
      maxLength: Infinity,
      config: json,
    },
    inputs,
    forward: (scope, batch) => {
      if (batch.decoder == null) throw new ShapeError("an encoder-decoder needs the ids that its decoder reads.");
      return decode(scope, batch.decoder, batch.positions, c, encode(scope, batch, c));
    },
    head: (scope, hidden) =>
      linear(scope.at("lm_head"), c.scale_decoder_outputs ? scale(hidden, 1 / Math.sqrt(D)) : hidden, {
        roles: ["unembed"],
        out: V,
        bias: false,
        ...tied,
      }),
  };
}

/** Whether head and token table are one is for the file to say: many configurations have it wrong. */
async function settle(relative: Relative, json: JsonObject, weights: TensorFile, file: string): Promise<JsonObject> {
  const { scale_decoder_outputs } = read(relative, json, file);
  const untied = await differ(weights, "lm_head.weight", "shared.weight");
  return { ...json, tie_word_embeddings: !untied, scale_decoder_outputs };
}

/** Normal, each with a variance that keeps scores and sums of the order of one. */
function start({ roles, shape }: Site<"param">, c: T5Config): Init {
  const { initializer_factor: factor, d_model: D, d_kv: E } = c;
  if (roles.includes("norm")) return (of) => new Float32Array(sizeOf(of)).fill(factor);
  if (roles.includes("embed") || roles.includes("unembed")) return normal(factor);
  const query = roles.some((role) => role.endsWith(".q"));
  const fanIn = roles.includes("weight") && roles.length > 1 ? (shape[1] ?? D) : D;
  return normal(factor / Math.sqrt(query ? D * E : fanIn));
}

const familyOf = (relative: Relative): Family => ({
  type: relative.type,
  prefix: "",
  computed: /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/,
  build: (json, options) => build(relative, json, options),
  settle: (json, weights, file) => settle(relative, json, weights, file),
  init: (parameter, json) => start(parameter, read(relative, json)),
});

/** T5 of both versions, Flan-T5 and T0. */
export const t5 = familyOf({ type: "t5", name: "T5" });

/** mT5: version 1.1 in many languages. */
export const mt5 = familyOf({
  type: "mt5",
  name: "MT5",
  absent: { feed_forward_proj: "gated-gelu", decoder_start_token_id: 0 },
  always: { scale_decoder_outputs: false },
});
