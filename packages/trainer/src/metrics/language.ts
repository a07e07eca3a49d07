/** @file How surprised a model of language is. */
import type { Example } from "../encode.ts";
import { each, type Rows } from "../rows.ts";
import type { Figures } from "../task.ts";

/** e to the mean loss of a token. */
export const perplexity = (loss: number): Figures => ({ perplexity: Math.exp(loss) });

/**
 * Σ losses / (ln 2 · characters), which models with different tokenizers can be compared by. Nothing where a row does not say
 * how many characters its labels stand for.
 */
export function bitsPerCharacter(loss: number, labels: number, rows: Rows<Example>): Figures {
  let characters = 0;
  for (const row of each(rows)) characters += row.characters ?? NaN;
  return characters > 0 ? { bits_per_character: (loss * labels) / (Math.LN2 * characters) } : {};
}
