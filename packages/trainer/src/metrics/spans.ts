/** @file How well spans of words are found, given by tags such as "B-PER", "I-PER", "O". @see seqeval, conlleval */
import type { Figures } from "../task.ts";

/** Whether classes are tags of spans: "O", and those that begin (B) or go on (I) with one. */
export const isIob = (names: readonly string[]): boolean =>
  names.some((name) => name.startsWith("B-")) && names.every((name) => name === "O" || /^[BI]-./.test(name));

/**
 * Spans of a row of tags as "type start end". A span begins at B, and also at an I that nothing of its type stands before, as
 * in seqeval.
 */
function spansOf(tags: readonly string[]): readonly string[] {
  const spans: string[] = [];
  let [type, start] = ["", 0];
  [...tags, "O"].forEach((tag, t) => {
    const next = tag === "O" ? "" : tag.slice(2);
    const goesOn = tag.startsWith("I") && next === type;
    if (goesOn) return;
    if (type !== "") spans.push(`${type} ${start} ${t}`);
    [type, start] = [next, t];
  });
  return spans;
}

/** Precision, recall and F1 of spans over all rows; 0 where there is nothing to divide by. */
export function spanFigures(
  wanted: readonly (readonly string[])[],
  found: readonly (readonly string[])[],
): Figures & { readonly f1: number } {
  let [right, there, given] = [0, 0, 0];
  wanted.forEach((tags, i) => {
    const [real, guessed] = [new Set(spansOf(tags)), spansOf(found[i] ?? [])];
    right += guessed.filter((span) => real.has(span)).length;
    there += real.size;
    given += guessed.length;
  });
  const share = (n: number, of: number): number => (of === 0 ? 0 : n / of);
  return { precision: share(right, given), recall: share(right, there), f1: share(2 * right, there + given) };
}
