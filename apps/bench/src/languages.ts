/** @file Pairs of languages: texts to learn each from, and texts to judge. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { rngOf } from "@graftml/peft";
import type { Example } from "@graftml/trainer";

/** Ids of the words that stand for no word of a text. */
export const special = { pad: 0, unknown: 1, first: 2, last: 3, mask: 4 } as const;
const FIRST_WORD = Object.keys(special).length;

/** Longest text, in words. */
const LENGTH = 38;

/** A language: what is known of it, and rows of a task. */
export interface Language {
  /** Texts, without labels. */
  readonly texts: readonly Example[];
  readonly train: readonly Example[];
  readonly test: readonly Example[];
}

/** Two languages with one vocabulary and one task. */
export interface Pair {
  readonly vocabulary: number;
  readonly classes: number;
  readonly languages: readonly [Language, Language];
}

/** Texts with their classes, as files have them. */
type Judged = readonly (readonly [text: string, label: string])[];

/**
 * Descriptions of restaurants, of E2E, and their twin: the same language, but its commonest words have changed places in pairs
 * that the seed draws. The task is to say whether a restaurant, a pub or a coffee shop is described. No description is in
 * both languages, nor is what the test's say in those to learn from.
 * @param swapped how many words change places.
 */
export async function twins(
  folder: string,
  { vocabulary, swapped, seed }: { readonly vocabulary: number; readonly swapped: number; readonly seed: number },
): Promise<Pair> {
  const read = async (name: string): Promise<Judged> =>
    linesOf(await readFile(join(folder, "e2e/lora-format", name), "utf8")).flatMap((line) => {
      const [meaning = "", text = ""] = line.split("||");
      const [, type] = /Type : ([a-z ]+?) *(?:\||$)/.exec(meaning) ?? [];
      return type === undefined ? [] : [[text, type] as const];
    });
  const [train, test] = [await read("valid.txt"), await read("test.txt")];
  const half = (which: number): Judged => train.filter((_, i) => i % 2 === which);
  const places = shuffled(swapped, seed).map((i) => FIRST_WORD + i);
  const twin = new Map(places.map((word, i) => [word, places[i ^ 1] ?? word]));
  return pairOf([half(0), half(1)], [test, test], vocabulary, [(id) => id, (id) => twin.get(id) ?? id]);
}

/** Tweets in two languages of AfriSenti, and whether they say something good, bad or neither. */
export async function tweets(
  folder: string,
  names: readonly [string, string],
  { vocabulary }: { readonly vocabulary: number },
): Promise<Pair> {
  const read = async (language: string, file: string): Promise<Judged> =>
    linesOf(await readFile(join(folder, "xling-afrisenti", language, file), "utf8"))
      .slice(1)
      .map((line) => [line.slice(0, line.lastIndexOf("\t")), line.slice(line.lastIndexOf("\t") + 1)] as const);
  const [a, b] = names;
  const train = [await read(a, "train.tsv"), await read(b, "train.tsv")] as const;
  const test = [await read(a, "dev.tsv"), await read(b, "dev.tsv")] as const;
  return pairOf(train, test, vocabulary, [(id) => id, (id) => id]);
}

const linesOf = (text: string): readonly string[] => text.split(/\r?\n/).filter((line) => line !== "");
const wordsOf = (text: string): readonly string[] =>
  text
    .toLowerCase()
    .split(/[^\p{L}\p{M}\p{N}£]+/u)
    .filter((word) => word !== "");

/** The numbers below n in an order that the seed draws. */
function shuffled(n: number, seed: number): readonly number[] {
  const rng = rngOf(seed, "an order");
  return Array.from({ length: n }, (_, i) => [rng.uniform(), i] as const)
    .sort(([a], [b]) => a - b)
    .map(([, i]) => i);
}

/** Both languages in ids of the commonest words of all texts to learn from, commonest first. */
function pairOf(
  train: readonly [Judged, Judged],
  test: readonly [Judged, Judged],
  vocabulary: number,
  renamed: readonly [(id: number) => number, (id: number) => number],
): Pair {
  const counts = new Map<string, number>();
  for (const [text] of train.flat()) for (const word of wordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const common = [...counts].sort(([, a], [, b]) => b - a).slice(0, vocabulary - FIRST_WORD);
  const ids = new Map(common.map(([word], i) => [word, FIRST_WORD + i]));
  const classes = [...new Set(train.flat().map(([, label]) => label))].sort();
  const rows = (judged: Judged, rename: (id: number) => number): readonly Example[] =>
    judged.map(([text, label]) => {
      const words = wordsOf(text)
        .slice(0, LENGTH)
        .map((word) => rename(ids.get(word) ?? special.unknown));
      return { ids: [special.first, ...words, special.last], labels: [classes.indexOf(label)] };
    });
  const language = (which: 0 | 1): Language => {
    const learned = rows(train[which], renamed[which]);
    return {
      texts: learned.flatMap(({ ids }) => (ids.some((id) => id >= FIRST_WORD) ? [{ ids, labels: [] }] : [])),
      train: learned,
      test: rows(test[which], renamed[which]),
    };
  };
  return { vocabulary, classes: classes.length, languages: [language(0), language(1)] };
}
