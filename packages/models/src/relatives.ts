/** @file The relatives of Llama: what each does that its configuration's keys do not say. */
import type { JsonObject } from "@graftml/peft";

/** Keys that only some relatives look at. */
const OPTIONAL = [
  "attention_bias",
  "mlp_bias",
  "use_sliding_window",
  "sliding_window",
  "layer_types",
  "no_rope_layers",
  "no_rope_layer_interval",
] as const;
type Optional = (typeof OPTIONAL)[number];

/** A relative of Llama. */
export interface Relative {
  /** transformers' classes begin with it. */
  readonly name: string;
  /** Which of the optional keys it looks at. */
  readonly reads: readonly Optional[];
  /** What absent keys mean. */
  readonly absent?: JsonObject;
  /** Keys that are so whatever config.json says. */
  readonly always?: JsonObject;
  /** Values of keys that mean others. */
  readonly meaning?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Every head of queries and keys is normed before it is rotated. */
  readonly headNorms?: boolean;
  /** Norms' gains are stored less one, and embeddings are multiplied by √D. */
  readonly centred?: boolean;
}

const windows = ["use_sliding_window", "sliding_window", "layer_types"] as const;

/** By `model_type`. @see HF `configuration_*.py` of each. */
export const relatives: Readonly<Record<string, Relative>> = {
  llama: { name: "Llama", reads: ["attention_bias", "mlp_bias"] },
  mistral: {
    name: "Mistral",
    reads: ["sliding_window"],
    absent: { num_key_value_heads: 8, sliding_window: 4096 },
    always: { use_sliding_window: true },
  },
  qwen2: {
    name: "Qwen2",
    reads: windows,
    absent: { sliding_window: 4096 },
    always: { attention_bias: true, output_bias: false },
  },
  qwen3: {
    name: "Qwen3",
    reads: ["attention_bias", ...windows],
    absent: { head_dim: 128, sliding_window: 4096 },
    headNorms: true,
  },
  smollm3: {
    name: "SmolLM3",
    reads: ["attention_bias", "mlp_bias", "no_rope_layers", "no_rope_layer_interval", ...windows],
    absent: { num_key_value_heads: 4, rope_theta: 2_000_000, tie_word_embeddings: true, no_rope_layer_interval: 4 },
  },
  gemma: {
    name: "Gemma",
    reads: ["attention_bias"],
    meaning: { hidden_act: { gelu: "gelu_pytorch_tanh" } }, // Google's first files
    absent: { head_dim: 256, hidden_act: "gelu_pytorch_tanh", tie_word_embeddings: true },
    centred: true,
  },
};

/** config.json as a relative reads it. */
export function readBy({ reads, absent, always, meaning = {} }: Relative, json: JsonObject): JsonObject {
  const ignored: readonly string[] = OPTIONAL.filter((key) => !reads.includes(key));
  const known = Object.entries(json)
    .filter(([key, value]) => value !== undefined && !ignored.includes(key))
    .map(([key, value]) => [key, meaning[key]?.[String(value)] ?? value] as const);
  return { ...absent, ...Object.fromEntries(known), ...always };
}
