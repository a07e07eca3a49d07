/**
 * @file From the plays to what pretraining needs: rows of whole speeches (text.jsonl) and a tokenizer of single characters.
 *
 *     node apps/cli/demo/pretrain/prepare.ts
 */
import { readFileSync, writeFileSync } from "node:fs";

/** Characters of a row, at most; with the start and end tokens a row is within `max_length` of run.yaml. */
const ROW = 188;

const file = (name: string): URL => new URL(name, import.meta.url);
const plays = readFileSync(file("shakespeare.txt"), "utf8");

// Speeches are separated by an empty line. Rows hold as many whole ones as fit; a longer one is cut into rows of its own.
const rows: string[] = [];
let row = "";
for (const speech of plays.split("\n\n")) {
  const text = `${speech.trim()}\n`;
  if (row !== "" && row.length + 1 + text.length > ROW) {
    rows.push(row);
    row = "";
  }
  row = row === "" ? text : `${row}\n${text}`;
  for (; row.length > ROW; row = row.slice(ROW)) rows.push(row.slice(0, ROW));
}
if (row !== "") rows.push(row);

const write = (name: string, of: readonly string[]): void =>
  writeFileSync(file(name), of.map((text) => `${JSON.stringify({ text })}\n`).join(""));
// Every fortieth row is held out.
write("text.jsonl", rows.filter((_, i) => i % 40 !== 0));
write("held-out.jsonl", rows.filter((_, i) => i % 40 === 0));

const SPECIAL = ["<unk>", "<s>", "</s>"] as const;
const characters = [...new Set(plays)].toSorted((a, b) => (a < b ? -1 : 1));
const special = (content: string, id: number) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });
const start = { SpecialToken: { id: "<s>", type_id: 0 } };
const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: SPECIAL.map(special),
  normalizer: null,
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [start, { Sequence: { id: "A", type_id: 0 } }],
    pair: [start, { Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries([...SPECIAL, ...characters].map((token, id) => [token, id])),
    merges: [],
  },
};
const json = (name: string, value: unknown): void => writeFileSync(file(name), `${JSON.stringify(value, null, 2)}\n`);
json("tokenizer.json", tokenizer);
json("tokenizer_config.json", {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
  pad_token: "<unk>",
  model_max_length: 256,
  clean_up_tokenization_spaces: false,
});
json("config.json", {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 5,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: 32,
  vocab_size: SPECIAL.length + characters.length,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 0,
  initializer_range: 0.02,
  torch_dtype: "float32",
});
console.log(`${rows.length} rows, ${characters.length} characters`);
