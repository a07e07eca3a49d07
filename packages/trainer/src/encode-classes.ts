/** @file Texts, pairs and words that are to be judged, to rows. */
import { IGNORE } from "@graftml/tensor";
import type { Example } from "./encode.ts";

/** What is asked of a tokenizer for a model that reads whole texts. */
export interface Framing {
  /** Ids of a text without the tokenizer's template. */
  readonly plain: (text: string) => readonly number[];
  /** The template around the ids of one text or two, cut to make room for it, and which text each token belongs to. */
  readonly around: (
    texts: readonly (readonly number[])[],
    longest: number,
  ) => {
    readonly ids: readonly number[];
    readonly types: readonly number[];
    /** Where each text stands among them: its first token, and the one behind its last. */
    readonly spans: readonly (readonly [start: number, end: number])[];
  };
  /** Tokens of a row, special ones included. */
  readonly maxLength: number;
  readonly origin?: string;
}

/** One text or a pair, with what it is judged to be; no labels where tokens are to be hidden and guessed. */
export function encodeJudged(
  texts: readonly string[],
  labels: readonly number[],
  { plain, around, maxLength, origin }: Framing,
): Example {
  const { ids, types } = around(texts.map(plain), maxLength);
  return { ids, types, labels, ...(origin !== undefined && { origin }) };
}

/**
 * Words and their classes. A word is encoded as where it stands in a text, behind a space; its first piece has its class as
 * label. Words of which nothing is left, by the tokenizer or by cutting, have none.
 * @see transformers' token classification example, `label_all_tokens = False`
 */
export function encodeWords(words: readonly string[], classes: readonly number[], framing: Framing): Example {
  const { plain, around, maxLength, origin } = framing;
  const pieces = words.map((word) => plain(` ${word}`));
  const { ids, types, spans } = around([pieces.flat()], maxLength);
  const labels = ids.map(() => IGNORE);
  let [at, end] = spans[0] ?? [0, 0];
  pieces.forEach((piece, i) => {
    if (piece.length > 0 && at < end) labels[at] = classes[i] ?? IGNORE;
    at += piece.length;
  });
  return { ids, types, labels, ...(origin !== undefined && { origin }) };
}
