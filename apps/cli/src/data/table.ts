/** @file Rows as tables: comma- and tab-separated values. */
import { Readable } from "node:stream";
import { UsageError } from "../errors.ts";
import type { DataFile, Entry, Reader } from "./row.ts";
import { linesOf, LONGEST, textOf } from "./source.ts";

interface Dialect {
  readonly delimiter: string;
  readonly quote: string | false;
}

const commas: Dialect = { delimiter: ",", quote: '"' };
// GLUE's files have quotation marks that are part of the text.
const tabs: Dialect = { delimiter: "\t", quote: false };

/** Comma-separated values. A file whose first line has more tabs than commas is tab-separated whatever its name, as STS-B's are. */
export const readCsv: Reader = async function* (file) {
  const first = await firstLine(file);
  yield* readTable(file, first.split("\t").length > first.split(",").length ? tabs : commas);
};

async function firstLine(file: DataFile): Promise<string> {
  for await (const { text } of linesOf(file)) return text;
  return "";
}

/** Tab-separated values, in which quotation marks are text. */
export const readTsv: Reader = (file) => readTable(file, tabs);

/** What the parser gives of a record: with `info`, the line that it ends on. */
interface Parsed {
  readonly record: Readonly<Record<string, unknown>>;
  readonly info: { readonly lines: number };
}

/** A table has a header unless its columns are given by number; only then may rows be longer or shorter than others. */
async function* readTable(file: DataFile, { delimiter, quote }: Dialect): AsyncGenerator<Entry> {
  const { CsvError, parse } = await import("csv-parse");
  const parser = parse({
    delimiter,
    quote,
    columns: file.headless ? false : (names: readonly string[]) => headerOf(names, file),
    relax_column_count: file.headless,
    info: true,
    skip_empty_lines: true,
    max_record_size: LONGEST,
  });
  const text = Readable.from(textOf(file));
  text.on("error", (error) => parser.destroy(error)).pipe(parser);
  try {
    for await (const { record, info } of parser as AsyncIterable<Parsed>)
      // what `info` makes of them
      yield { values: { ...record }, origin: `${file.shown}:${info.lines}` };
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new UsageError(`${file.shown}:${typeof cause["lines"] === "number" ? cause["lines"] : 1}: ${cause.message}`, {
      cause,
    });
  } finally {
    text.destroy();
  }
}

function headerOf(names: readonly string[], { shown }: DataFile): string[] {
  const header = names.map((name) => name.trim());
  const twice = header.find((name, i) => name !== "" && header.indexOf(name) < i);
  if (twice !== undefined) throw new UsageError(`${shown}:1: two columns are called "${twice}".`);
  return header;
}
