/** @file Texts to rows of token ids and labels, independent of any tokenizer library. */
import { IGNORE } from "@graftml/tensor";

/** One row of a language-modelling task. */
export interface Example {
  /** Token ids, special ones included. */
  readonly ids: readonly number[];
  /** For every token itself, not the next one, as in transformers: its id where the model is to predict it, else −100. */
  readonly labels: readonly number[];
  /** Where it comes from, for messages: "line 17 of train.jsonl". */
  readonly origin?: string;
}

/** What is asked of a tokenizer. */
export interface Encoding {
  /** Ids of a text with the tokenizer's own template around them (`add_special_tokens`). */
  readonly encode: (text: string) => readonly number[];
  /** The end token, appended where the template adds none; null if the tokenizer has none. */
  readonly end: number | null;
  /** Tokens of a row, special ones included; what is longer is cut at the end. */
  readonly maxLength: number;
  readonly origin?: string;
}

/** A text of which every token is a label. */
export function encodeText(text: string, options: Encoding): Example {
  const ids = cut(text, options);
  return { ids, labels: ids, ...origin(options) };
}

/**
 * A prompt, whose tokens are no labels, and its completion, whose tokens are.
 *
 * The two are encoded as one text, which is what a model meets when it is used, and labels begin where that differs from
 * the prompt's own encoding: a token that holds anything of the completion is a label. Where the prompt's tokens are a
 * prefix of the whole's, which is the rule, this is TRL's mask for prompt-completion data.
 */
export function encodePair(prompt: string, completion: string, options: Encoding): Example {
  const ids = cut(prompt + completion, options);
  const alone = options.encode(prompt);
  const departs = ids.findIndex((id, i) => id !== alone[i]);
  const start = departs === -1 ? ids.length : departs;
  return { ids, labels: ids.map((id, i) => (i < start ? IGNORE : id)), ...origin(options) };
}

function cut(text: string, { encode, end, maxLength }: Encoding): readonly number[] {
  const ids = encode(text);
  return (end === null || ids.at(-1) === end ? ids : [...ids, end]).slice(0, maxLength);
}

const origin = ({ origin }: Encoding): { readonly origin?: string } => (origin === undefined ? {} : { origin });
