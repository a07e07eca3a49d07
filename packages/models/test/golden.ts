/** @file Recordings of tiny random models, made by scripts/golden, and what transformers makes of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Nested lists of numbers. */
export type Nested = number | readonly Nested[];

/** What golden.json holds. */
export interface Golden {
  readonly task: string;
  /** By the names of a program's inputs. */
  readonly inputs: Readonly<Record<string, Nested>>;
  /** What the logits are held against, row by row: ids of classes or tokens, numbers where there is one output, or a 0 or 1 for each class. */
  readonly labels: Nested;
  readonly logits: Nested;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Nested>>;
  /** Full fine-tuning with AdamW, without decay and clipping, on this one batch. */
  readonly steps?: { readonly lr: number; readonly loss: readonly number[]; readonly grad_norm: readonly number[] };
  /** What is written on, and what greedy decoding writes. */
  readonly prompts?: readonly (readonly number[])[];
  readonly greedy?: readonly (readonly number[])[];
}

/** Decoders. */
export const decoders = ["llama", "llama-tied", "gpt2", "gpt2-untied"] as const;
/** Relatives of Llama, and ways of scaling rotary positions. */
export const relatives = ["mistral", "qwen2", "qwen3", "smollm3", "gemma", "llama3", "llama-linear"] as const;
/** Decoders that judge texts and tokens. */
export const judges = ["llama-score", "llama-tokens", "gpt2-score", "gpt2-tokens"] as const;
/** Encoder-decoders. */
export const seq2seq = ["t5", "t5-untied", "t5-tied-unscaled", "mt5"] as const;
/** Encoders, with each of their heads. */
export const encoders = [
  "bert-tokens",
  "bert-tokens-untied",
  "bert-classes",
  "bert-score",
  "bert-several",
  "bert-tags",
  "roberta-tokens",
  "roberta-classes",
  "roberta-tags",
  "xlm-roberta-classes",
  "distilbert-tokens",
  "distilbert-classes",
  "distilbert-tags",
  "deberta-tokens",
  "deberta-classes",
  "deberta-tags",
  "deberta-v2-tokens",
  "deberta-v2-tokens-legacy",
  "deberta-v2-classes",
  "deberta-v2-neighbours",
  "deberta-v2-tags",
  "vit-classes",
  "vit-gray",
] as const;

/** The folder of a case. */
export const folderOf = (name: string): string => join(import.meta.dirname, "golden", name);

/** What transformers says of a case. */
export const goldenOf = (name: string): Golden =>
  JSON.parse(readFileSync(join(folderOf(name), "golden.json"), "utf8")) as Golden;

/** Token ids of a case, row by row. */
export const idsOf = (name: string): number[][] => goldenOf(name).inputs["ids"] as number[][];

/** Nested lists as one. */
export const flat = (x: Nested): number[] => (typeof x === "number" ? [x] : x.flatMap(flat));

/** Lengths of nested lists, outermost first. */
export const shapeOf = (x: Nested): number[] => (typeof x === "number" ? [] : [x.length, ...shapeOf(x[0] ?? 0)]);

/** Largest difference, relative to the largest expected value. */
export function difference(got: ArrayLike<number>, want: readonly number[]): number {
  if (got.length !== want.length) throw new Error(`${got.length} values, ${want.length} are expected.`);
  const peak = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return want.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (got[i] ?? NaN))), 0) / peak;
}
