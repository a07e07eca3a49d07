/** @file A Llama of random weights in half precision on the disk, with a tokenizer: large as one likes, never in memory whole. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildModel, narrowHalf, saveModel } from "@graftml/models";
import { type Base, type JsonObject, rngOf, sites, StateError } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";

/** The shape of Llama 3.2 with 1.24 billion parameters. */
export const LLAMA_1B: JsonObject = {
  model_type: "llama",
  vocab_size: 128_256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
  eos_token_id: 0,
};

/** Words that the tokenizer knows, the first of them its end of a text. */
const WORDS = Array.from({ length: 256 }, (_, i) => `w${i}`);
/** Half-precision words to draw weights from, and 1. */
const [DRAWS, ONE] = [2 ** 12, 0x3c00] as const;

/** A text of so many words. */
export const randomText = (words: number): string =>
  Array.from({ length: words }, (_, i) => WORDS[1 + ((i * 7919) % 251)]).join(" ");

/**
 * Writes the model of a config.json: matrices from N(0, 0.02), norms one, in files of at most a gigabyte.
 * @returns how many parameters it has.
 */
export async function writeRandomLlama(folder: string, config: JsonObject): Promise<number> {
  const model = buildModel(config);
  const shapes = new Map(sites(model).flatMap((s) => (s.kind === "param" ? [[s.path, s.shape] as const] : [])));
  const { normal } = rngOf(0, "weights");
  const { words: draws } = narrowHalf(Float32Array.from({ length: DRAWS }, () => 0.02 * normal()));
  let state = 1;
  const base: Base = {
    names: () => shapes.keys(),
    describe: (name) => ({ shape: shapes.get(name) ?? [], dtype: "f16" }),
    read: async (name) => {
      const shape = shapes.get(name);
      if (shape === undefined) throw new StateError(`the model has no parameter ${name}.`);
      const words = new Uint16Array(sizeOf(shape));
      if (shape.length === 1) return words.fill(ONE);
      for (let i = 0; i < words.length; i++) {
        // Marsaglia's xorshift: a billion draws in seconds.
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        words[i] = draws[state >>> 20] ?? 0;
      }
      return words;
    },
  };
  await saveModel(folder, model, base, { shardBytes: 1e9 });
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ eos_token: WORDS[0] }));
  return [...shapes.values()].reduce((n, shape) => n + sizeOf(shape), 0);
}

/** Words between spaces. */
const tokenizer: JsonObject = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "WhitespaceSplit" },
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", vocab: Object.fromEntries(WORDS.map((word, i) => [word, i])), unk_token: WORDS[0] },
};
