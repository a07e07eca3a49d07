/** @file ROUGE: how much of a reference a text brings back. @see Lin 2004; the Python package rouge_score, without stemming */
import { ngrams } from "./bleu.ts";

/** Words as rouge_score has them: runs of letters a to z and digits, in lower case. */
const wordsOf = (text: string): readonly string[] => text.toLowerCase().match(/[a-z0-9]+/g) ?? [];

type Overlap = (text: readonly string[], reference: readonly string[]) => number;

/** 2 · matches / (n-grams of both), which is the F1 of n-grams. */
const byGrams =
  (n: number): Overlap =>
  (text, reference) => {
    const [a, b] = [ngrams(text, n), ngrams(reference, n)];
    const matches = [...a].reduce((sum, [gram, count]) => sum + Math.min(count, b.get(gram) ?? 0), 0);
    const grams = Math.max(0, text.length - n + 1) + Math.max(0, reference.length - n + 1);
    return grams === 0 ? 0 : (2 * matches) / grams;
  };

/** The F1 of the longest common subsequence. */
const bySequence: Overlap = (text, reference) => {
  let row = new Array<number>(reference.length + 1).fill(0);
  for (const word of text) {
    const next = [0];
    reference.forEach((other, j) =>
      next.push(word === other ? (row[j] ?? 0) + 1 : Math.max(row[j + 1] ?? 0, next[j] ?? 0)),
    );
    row = next;
  }
  const words = text.length + reference.length;
  return words === 0 ? 0 : (2 * (row.at(-1) ?? 0)) / words;
};

/** Mean over texts of an overlap with the reference that it is largest with, 0 to 1. */
const meanOf =
  (overlap: Overlap) =>
  (texts: readonly string[], references: readonly (readonly string[])[]): number =>
    texts.reduce((sum, text, i) => {
      const words = wordsOf(text);
      return sum + Math.max(0, ...(references[i] ?? []).map((reference) => overlap(words, wordsOf(reference))));
    }, 0) / texts.length;

/** F1 of single words. */
export const rouge1 = meanOf(byGrams(1));
/** F1 of pairs of words. */
export const rouge2 = meanOf(byGrams(2));
/** F1 of the longest common subsequence of words. */
export const rougeL = meanOf(bySequence);
