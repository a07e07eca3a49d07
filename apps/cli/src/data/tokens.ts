/**
 * @file Sentences as tokens with tags, one token a line, an empty line after each sentence: CoNLL-U and its relatives.
 * @see https://universaldependencies.org/format.html
 */
import { UsageError } from "../errors.ts";
import type { DataFile, Entry, Reader } from "./row.ts";
import { linesOf } from "./source.ts";

/** CoNLL-U's columns. */
const FIELDS = ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"] as const;

/** Where a sentence stands, and its lines. */
interface Sentence {
  readonly lines: readonly { readonly text: string; readonly number: number }[];
  readonly number: number;
}

async function* sentencesOf(file: DataFile): AsyncGenerator<Sentence> {
  let lines: { readonly text: string; readonly number: number }[] = [];
  for await (const line of linesOf(file)) {
    if (line.text.trim() !== "") lines.push(line);
    else if (lines.length > 0) {
      yield { lines, number: lines[0]?.number ?? line.number };
      lines = [];
    }
  }
  if (lines.length > 0) yield { lines, number: lines[0]?.number ?? 1 };
}

/**
 * CoNLL-U: columns `form`, `upos` and so on are lists, one value a word; comments "# text = …" are columns with a text.
 * Words as the syntax has them: neither ranges (1-2) nor empty nodes (1.1).
 */
export const readConllu: Reader = async function* (file) {
  for await (const { lines, number } of sentencesOf(file)) {
    const values: Record<string, unknown> = {};
    const words: string[][] = [];
    for (const line of lines) {
      const [, key, value] = /^#\s*([^=]+?)\s*=\s*(.*)$/.exec(line.text) ?? [];
      if (key !== undefined) values[key] = value;
      if (line.text.startsWith("#")) continue;
      const fields = line.text.split("\t");
      if (fields.length !== FIELDS.length)
        throw new UsageError(
          `${file.shown}:${line.number}: a word has ${FIELDS.length} columns with tabs between them (${FIELDS.join(", ")}), not ${fields.length}.`,
        );
      if (/^\d+$/.test(fields[0] ?? "")) words.push(fields);
    }
    FIELDS.forEach((name, i) => (values[name] = words.map((fields) => fields[i] ?? "")));
    yield { values, origin: `${file.shown}:${number}` };
  }
};

/** Tokens with tags between blanks, as in CoNLL-2003: columns are numbers from 0. Lines "-DOCSTART-" are passed over. */
export const readConll: Reader = async function* (file) {
  for await (const { lines, number } of sentencesOf(file)) {
    const words = lines
      .filter(({ text }) => !text.startsWith("-DOCSTART-"))
      .map(({ text, number }) => ({ fields: text.trim().split(/\s+/), number }));
    const width = words[0]?.fields.length ?? 0;
    if (width === 0) continue;
    const odd = words.find(({ fields }) => fields.length !== width);
    if (odd !== undefined)
      throw new UsageError(`${file.shown}:${odd.number}: ${odd.fields.length} columns, ${width} in the line before.`);
    const values = Object.fromEntries(Array.from({ length: width }, (_, i) => [i, words.map((w) => w.fields[i])]));
    yield { values, origin: `${file.shown}:${number}` } satisfies Entry;
  }
};
