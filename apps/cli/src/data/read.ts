/** @file Reading data files: rows one after the other, each with the file and line it comes from. */
import { statSync } from "node:fs";
import { extname } from "node:path";
import { UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import { classesOf } from "./classes.ts";
import { inferColumns, type Layout, partsOf } from "./columns.ts";
import { imageTypes, readImageFolder } from "./image.ts";
import { readJsonLines, readJsonList } from "./json.ts";
import { readParquet } from "./parquet.ts";
import type { Columns, Reader, Row } from "./row.ts";
import { PACKED } from "./source.ts";
import { readCsv, readTsv } from "./table.ts";
import { readText } from "./text.ts";
import { readConll, readConllu } from "./tokens.ts";

/** How files are read, by the end of their names; those but Parquet may be packed, and then end in ".gz" too. */
const readers: Readonly<Record<string, Reader>> = {
  ".jsonl": readJsonLines,
  ".json": readJsonList,
  ".csv": readCsv,
  ".tsv": readTsv,
  ".parquet": readParquet,
  ".txt": readText,
  ".conllu": readConllu,
  ".conll": readConll,
};

/** Ends of names of files that can be read. */
const dataTypes: readonly string[] = Object.keys(readers);

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

function readerOf(path: string): Reader | undefined {
  if (isFolder(path)) return readImageFolder;
  const name = path.toLowerCase();
  const type = extname(name.endsWith(PACKED) ? name.slice(0, -PACKED.length) : name);
  return type === ".parquet" && name.endsWith(PACKED) ? undefined : readers[type];
}

/** Why a file's name cannot be one of data, or undefined if it can. */
export const refusedType = (path: string): string | undefined =>
  readerOf(path) === undefined
    ? `${showFile(path)} is of no type that can be read: ${dataTypes.join(" ")}, or a folder of images (${imageTypes.join(" ")}).`
    : undefined;

/** What is read from files. */
export interface Wanted {
  /** Which column plays which part; if absent, columns are known by their names. */
  readonly columns?: Columns | undefined;
  /** The layouts that the task takes. */
  readonly layouts: readonly Layout[];
}

/**
 * Rows of one or several files, in order. One row at a time is held, or as many as a file keeps together (Parquet's groups).
 * @throws {UsageError} naming file and line of what is broken, or the columns there are.
 */
export async function* readRows(files: string | readonly string[], { columns, layouts }: Wanted): AsyncGenerator<Row> {
  const given = columns && Object.values(columns);
  const headless = given !== undefined && given.length > 0 && given.every((column) => typeof column === "number");
  for (const path of typeof files === "string" ? [files] : files) {
    const shown = showFile(path);
    const reader = readerOf(path);
    if (reader === undefined) throw new UsageError(refusedType(path) ?? shown);
    const classes = await classesOf(path);
    let first: { readonly names: readonly string[]; readonly columns: Columns } | undefined;
    for await (const entry of reader({ path, shown, headless })) {
      const { values, origin, running } = entry;
      if (first === undefined) {
        const names = Object.keys(values);
        first = { names, columns: columns ?? inferColumns(names, layouts, shown) };
      }
      yield { ...(await partsOf(entry, { path, classes, ...first })), origin, ...(running && { running }) };
    }
    if (first === undefined) throw new UsageError(`${shown} has no rows.`);
  }
}

/** The first rows of files. */
export async function firstRows(
  files: string | readonly string[],
  wanted: Wanted,
  count: number,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(files, wanted)) {
    rows.push(row);
    if (rows.length === count) break;
  }
  return rows;
}
