/** @file BLEU of a whole corpus. @see Papineni et al. 2002; Post 2018 (sacrebleu, whose defaults these are: 13a, exp) */

/** Longest n-grams that are counted. */
const LONGEST = 4;

/**
 * Splits punctuation from words as the NIST script mteval-v13a does.
 * @see sacrebleu `tokenizer_13a.py`
 */
const tokenize13a = (text: string): readonly string[] =>
  ` ${text
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")} `
    .replaceAll(/([{-~[-` -&(-+:-@/])/g, " $1 ")
    .replaceAll(/([^0-9])([.,])/g, "$1 $2 ")
    .replaceAll(/([.,])([^0-9])/g, " $1 $2")
    .replaceAll(/([0-9])(-)/g, "$1 $2 ")
    .split(/\s+/u)
    .filter((word) => word !== "");

/** How often each n-gram of so many words occurs. */
export function ngrams(words: readonly string[], n: number): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/**
 * BLEU, 0 to 100: brevity penalty · exp(mean over n ≤ 4 of ln precisionₙ). An n without a match is smoothed: its i-th counts
 * as half the last, 1 / (2ⁱ · total).
 * @param references each text's references, of which any may be met.
 */
export function bleu(texts: readonly string[], references: readonly (readonly string[])[]): number {
  const counts = Array.from({ length: LONGEST }, () => ({ right: 0, total: 0 })); // of n-grams, n from 1
  let [written, wanted] = [0, 0];
  texts.forEach((text, i) => {
    const words = tokenize13a(text);
    const others = (references[i] ?? []).map(tokenize13a);
    const lengths = others.map((other) => other.length);
    written += words.length;
    wanted += closest(words.length, lengths);
    counts.forEach((count, n) => {
      const known = others.map((other) => ngrams(other, n + 1));
      for (const [gram, times] of ngrams(words, n + 1)) {
        count.right += Math.min(times, Math.max(0, ...known.map((grams) => grams.get(gram) ?? 0)));
        count.total += times;
      }
    });
  });
  if (counts.every(({ right }) => right === 0) || counts.some(({ total }) => total === 0)) return 0;
  let smooth = 1;
  const logs = counts.map(({ right, total }) => Math.log((right === 0 ? 1 / (smooth *= 2) : right) / total));
  const brevity = written < wanted ? Math.exp(1 - wanted / written) : 1;
  return 100 * brevity * Math.exp(logs.reduce((a, b) => a + b, 0) / LONGEST);
}

/** The length nearest to another, the shorter of two equally near. */
const closest = (length: number, lengths: readonly number[]): number =>
  lengths.toSorted((a, b) => Math.abs(a - length) - Math.abs(b - length) || a - b)[0] ?? 0;
