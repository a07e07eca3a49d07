/** @file Pairs of languages: texts to learn each from, and texts to judge. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { rngOf } from "@graftml/peft";
import { IGNORE } from "@graftml/tensor";
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

/** A language whose task has classes of these names. */
export interface Judged extends Language {
  readonly classes: readonly string[];
}

/** Two languages with one vocabulary and one task. */
export interface Pair {
  readonly task: "sequence-classification" | "token-classification";
  readonly vocabulary: number;
  readonly languages: readonly [Judged, Judged];
}

/** Texts in words, as files have them, each with its class or with those of its words. */
type Texts = readonly (readonly [words: readonly string[], label: string | readonly string[]])[];

/** English sentences of Universal Dependencies (EWT), in small letters, with the part of speech of each word. */
async function sentences(folder: string): Promise<readonly [train: Texts, test: Texts]> {
  const read = (text: string): Texts =>
    text.split(/\r?\n\r?\n/).flatMap((sentence) => {
      const words = linesOf(sentence).filter((line) => /^\d+\t/.test(line)); // no comments, no contractions
      const columns = words.map((line) => line.split("\t"));
      if (columns.length < 3) return [];
      return [[columns.map(([, form = ""]) => form.toLowerCase()), columns.map(([, , , tag = ""]) => tag)] as const];
    });
  const at = (name: string): string => join(folder, "xling-ud-english-ewt", name);
  const packed = await readFile(at("en_ewt-ud-train.conllu.gz"));
  const test = await readFile(at("en_ewt-ud-dev.conllu"), "utf8");
  return [read((await promisify(gunzip)(packed)).toString()), read(test)];
}

/** English, and the part of speech of each of its words. */
export async function tagged(folder: string, { vocabulary }: { readonly vocabulary: number }): Promise<Judged> {
  const [train, test] = await sentences(folder);
  return languageOf(lexiconOf(train, vocabulary), train, test);
}

/**
 * English and its twin: the same language, but its commonest words have changed places in pairs that the seed draws. The task is
 * to tell parts of speech. No sentence to learn from is in both languages; those to judge are the same.
 * @param swapped how many words change places.
 */
export async function twins(
  folder: string,
  { vocabulary, swapped, seed }: { readonly vocabulary: number; readonly swapped: number; readonly seed: number },
): Promise<Pair> {
  const [train, test] = await sentences(folder);
  const half = (which: number): Texts => train.filter((_, i) => i % 2 === which);
  const places = shuffled(swapped, seed).map((i) => FIRST_WORD + i);
  const twin = new Map(places.map((word, i) => [word, places[i ^ 1] ?? word]));
  const lexicon = lexiconOf(train, vocabulary);
  const languages = [
    languageOf(lexicon, half(0), test),
    languageOf(lexicon, half(1), test, (id) => twin.get(id) ?? id),
  ] as const;
  return { task: "token-classification", vocabulary, languages };
}

/** Tweets in two languages of AfriSenti, and whether they say something good, bad or neither. */
export async function tweets(
  folder: string,
  names: readonly [string, string],
  { vocabulary }: { readonly vocabulary: number },
): Promise<Pair> {
  const read = async (language: string, file: string): Promise<Texts> =>
    linesOf(await readFile(join(folder, "xling-afrisenti", language, file), "utf8"))
      .slice(1)
      .map((line) => [wordsOf(line.slice(0, line.lastIndexOf("\t"))), line.slice(line.lastIndexOf("\t") + 1)]);
  const [a, b] = names;
  const train = [await read(a, "train.tsv"), await read(b, "train.tsv")] as const;
  const lexicon = lexiconOf(train.flat(), vocabulary);
  const languages = [
    languageOf(lexicon, train[0], await read(a, "dev.tsv")),
    languageOf(lexicon, train[1], await read(b, "dev.tsv")),
  ] as const;
  return { task: "sequence-classification", vocabulary, languages };
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

/** Ids of words, and classes. */
interface Lexicon {
  readonly ids: ReadonlyMap<string, number>;
  readonly classes: readonly string[];
}

/** The commonest words of texts, commonest first, and the classes in them. */
function lexiconOf(texts: Texts, vocabulary: number): Lexicon {
  const counts = new Map<string, number>();
  for (const [words] of texts) for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const common = [...counts].sort(([, a], [, b]) => b - a).slice(0, vocabulary - FIRST_WORD);
  return {
    ids: new Map(common.map(([word], i) => [word, FIRST_WORD + i])),
    classes: [...new Set(texts.flatMap(([, label]) => label))].sort(),
  };
}

/** A language in ids. @param renamed what a word's id is in this language. */
function languageOf(
  { ids, classes }: Lexicon,
  train: Texts,
  test: Texts,
  renamed: (id: number) => number = (id) => id,
): Judged {
  const rows = (texts: Texts): readonly Example[] =>
    texts.map(([all, label]) => {
      const words = all.slice(0, LENGTH).map((word) => renamed(ids.get(word) ?? special.unknown));
      const labels =
        typeof label === "string"
          ? [classes.indexOf(label)]
          : [IGNORE, ...label.slice(0, LENGTH).map((tag) => classes.indexOf(tag)), IGNORE];
      return { ids: [special.first, ...words, special.last], labels };
    });
  const learned = rows(train);
  return {
    classes,
    texts: learned.flatMap(({ ids }) => (ids.some((id) => id >= FIRST_WORD) ? [{ ids, labels: [] }] : [])),
    train: learned,
    test: rows(test),
  };
}
