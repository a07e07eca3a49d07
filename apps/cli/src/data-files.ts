/** @file Reading data files: rows with the file and line they come from. */
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { nearest } from "@graftml/peft";
import { UsageError } from "./errors.ts";
import { showFile } from "./io.ts";
import type { Run } from "./schema.ts";

/** Which column plays which part. */
export type Columns = Run["data"]["columns"];

/** One example before it is tokens. */
export interface TextRow {
  readonly text: string;
  /** Present if `text` is what follows it: the part that is not learnt. */
  readonly prompt?: string;
  /** "train.jsonl:17" */
  readonly origin: string;
  /** Whether it is a stretch of running text, to be cut into as many rows as it fills. */
  readonly running?: boolean;
}

/** A record of a file: values by column name, or by number in a file without a header. */
interface Entry {
  readonly values: Readonly<Record<string, unknown>>;
  readonly origin: string;
}

type Reader = (file: string, shown: string, columns: Columns) => Promise<readonly Entry[]>;

/** How files are read, by the end of their names. */
const readers: Readonly<Record<string, Reader>> = {
  ".jsonl": readJsonLines,
  ".json": readJsonList,
  ".csv": (file, shown, columns) => readTable(file, shown, columns, { delimiter: ",", quote: '"' }),
  // GLUE's files have quotation marks that are part of the text.
  ".tsv": (file, shown, columns) => readTable(file, shown, columns, { delimiter: "\t", quote: false }),
  ".parquet": readParquet,
};
const TEXT = ".txt";

/** Ends of names of files that can be read. */
const dataTypes: readonly string[] = [...Object.keys(readers), TEXT];

/** Why a file's name cannot be one of data, or undefined if it can. */
export const refusedType = (file: string): string | undefined =>
  dataTypes.includes(extname(file).toLowerCase())
    ? undefined
    : `${showFile(file)} is of no type that can be read: ${dataTypes.join(" ")}.`;

/**
 * Rows of one or several files, in order. A text file is one running text.
 * @throws {UsageError} naming file and line of what is broken, or the columns there are.
 */
export async function readRows(files: string | readonly string[], columns: Columns): Promise<readonly TextRow[]> {
  const rows: TextRow[] = [];
  for (const file of typeof files === "string" ? [files] : files) {
    const shown = showFile(file);
    const refused = refusedType(file);
    if (refused !== undefined) throw new UsageError(refused);
    const type = extname(file).toLowerCase();
    const reader = readers[type];
    const found =
      reader === undefined
        ? [{ text: await textOf(file, shown), origin: shown, running: true }]
        : (await reader(file, shown, columns)).map((entry) => rowOf(entry, columns));
    if (found.length === 0) throw new UsageError(`${shown} has no rows.`);
    for (const row of found) rows.push(row);
  }
  return rows;
}

function rowOf(entry: Entry, { text, prompt, completion }: Columns): TextRow {
  const { origin } = entry;
  if (prompt !== undefined && completion !== undefined)
    return { prompt: cell(entry, prompt), text: cell(entry, completion), origin };
  return { text: cell(entry, text ?? "text"), origin };
}

function cell({ values, origin }: Entry, column: string | number): string {
  const value = values[column];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value !== undefined)
    throw new UsageError(`${origin}: column "${column}" holds ${value === null ? "null" : "an object"}, not a text.`);
  const known = Object.keys(values);
  const near = nearest(String(column), known);
  throw new UsageError(
    `${origin}: there is no column "${column}".${near === undefined ? "" : ` Did you mean "${near}"?`} Columns: ${known.join(", ")}. Say which one it is with data.columns.`,
  );
}

async function textOf(file: string, shown: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new UsageError(code === "ENOENT" ? `there is no data file ${shown}.` : `${shown} cannot be read (${code}).`, {
      cause,
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(`${shown} is not UTF-8 text.`, { cause });
  }
}

async function readJsonLines(file: string, shown: string): Promise<readonly Entry[]> {
  const lines = (await textOf(file, shown)).split("\n");
  return lines.flatMap((line, i) => {
    if (line.trim() === "") return [];
    const origin = `${shown}:${i + 1}`;
    return [{ values: asObject(parseJson(line, origin), origin), origin }];
  });
}

async function readJsonList(file: string, shown: string): Promise<readonly Entry[]> {
  const list = parseJson(await textOf(file, shown), shown);
  if (!Array.isArray(list)) throw new UsageError(`${shown}: a JSON data file is a list of objects, one a row.`);
  return list.map((item: unknown, i) => ({ values: asObject(item, `${shown}[${i}]`), origin: `${shown}[${i}]` }));
}

function parseJson(text: string, origin: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${origin}: not JSON: ${cause instanceof Error ? cause.message : ""}.`, { cause });
  }
}

function asObject(value: unknown, origin: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>; // just checked
  throw new UsageError(`${origin}: a row is an object of columns, such as {"text": "…"}.`);
}

/** A table has a header, unless columns are given by number. */
async function readTable(
  file: string,
  shown: string,
  columns: Columns,
  { delimiter, quote }: { readonly delimiter: string; readonly quote: string | false },
): Promise<readonly Entry[]> {
  const { CsvError, parse } = await import("csv-parse/sync");
  const headless = Object.values(columns).every((column) => typeof column === "number");
  try {
    const records = parse(await textOf(file, shown), {
      delimiter,
      quote,
      bom: true,
      columns: headless ? false : (header: readonly string[]) => header.map((name) => name.trim()),
      info: true,
      skip_empty_lines: true,
    });
    // With `info`, every record comes with the line that its last row ends on.
    return (
      records as unknown as readonly {
        readonly record: Record<string, unknown>;
        readonly info: { readonly lines: number };
      }[]
    ).map(({ record, info }) => ({ values: { ...record }, origin: `${shown}:${info.lines}` }));
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new UsageError(`${shown}:${typeof cause["lines"] === "number" ? cause["lines"] : "?"}: ${cause.message}`, {
      cause,
    });
  }
}

async function readParquet(file: string, shown: string): Promise<readonly Entry[]> {
  const { asyncBufferFromFile, parquetReadObjects } = await import("hyparquet");
  try {
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file) });
    return rows.map((values, i) => ({ values, origin: `${shown}, row ${i}` }));
  } catch (cause) {
    throw new UsageError(
      `${shown} cannot be read as Parquet: ${cause instanceof Error ? cause.message : String(cause)}.`,
      { cause },
    );
  }
}
