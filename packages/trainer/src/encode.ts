/** @file Texts to rows of token ids and labels, independent of any tokenizer library. */
import { IGNORE } from "@graftml/tensor";

/** One row of a task on texts. */
export interface Example {
  /** Token ids, special ones included. */
  readonly ids: readonly number[];
  /**
   * What is to be predicted, as in transformers; −100 where nothing is. Language modelling: for every token itself, not the
   * next one, its id. An encoder-decoder: the target's tokens. Classes of tokens: one a token. Of whole texts: one
   * number, or a 0 or 1 for each class where a text may have several.
   */
  readonly labels: readonly number[];
  /** Which text of a pair each token belongs to; absent: all to the first. */
  readonly types?: readonly number[];
  /** Where each text begins, if several share the row (`packRows`). */
  readonly starts?: readonly number[];
  /** Characters that the labels stand for, where bits per character are wanted. */
  readonly characters?: number;
  /** Where it comes from, for messages: "line 17 of train.jsonl". */
  readonly origin?: string;
}

/** What is asked of a tokenizer. */
export interface Encoding {
  /** Ids of a text with the tokenizer's own template around them (`add_special_tokens`). */
  readonly encode: (text: string) => readonly number[];
  /**
   * Text of ids. Blanks at the end of a prompt may be other tokens than before further text: with this it is still seen which
   * of them are the prompt's.
   */
  readonly decode?: (ids: readonly number[]) => string;
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
 * The two are encoded as one text, which is what a model meets when it is used: a token that holds anything of the
 * completion is a label. Where the prompt's tokens are a prefix of the whole's, which is the rule, this is TRL's mask for
 * prompt-completion data.
 */
export function encodePair(prompt: string, completion: string, options: Encoding): Example {
  return encodeSpans(prompt + completion, [[prompt.length, Infinity]], options);
}

/**
 * A text of which only some stretches are labels, such as an assistant's turns of a chat.
 *
 * The text is encoded as one. A stretch's tokens are all that hold anything of it; one that ends with the text takes the end
 * token along.
 * @param spans [first character, the one behind the last] of each stretch, in order.
 */
export function encodeSpans(
  text: string,
  spans: readonly (readonly [start: number, end: number])[],
  options: Encoding,
): Example {
  const ids = cut(text, options);
  /** Tokens of the whole that hold nothing from a character on: those that it shares with what lies before. */
  const before = (character: number): number => {
    const alone = options.encode(text.slice(0, character));
    const departs = ids.findIndex((id, i) => id !== alone[i]);
    const shared = departs === -1 ? ids.length : departs;
    const rest = options.decode?.(alone.slice(shared)) ?? "";
    const more = ids.slice(shared, shared + rest.length).findLastIndex((_, i) => {
      const read = options.decode?.(ids.slice(shared, shared + i + 1)) ?? "";
      return read !== "" && rest.startsWith(read);
    });
    return shared + more + 1;
  };
  const learnt = spans.map(([start, end]) => [before(start), end < text.length ? before(end) : ids.length] as const);
  const labels = ids.map((id, i) => (learnt.some(([start, end]) => start <= i && i < end) ? id : IGNORE));
  return { ids, labels, ...origin(options) };
}

function cut(text: string, { encode, end, maxLength }: Encoding): readonly number[] {
  const ids = encode(text);
  return (end === null || ids.at(-1) === end ? ids : [...ids, end]).slice(0, maxLength);
}

const origin = ({ origin }: Encoding): { readonly origin?: string } => (origin === undefined ? {} : { origin });
