/** @file Rows of Parquet files, a row group at a time. */
import type { FileMetaData } from "hyparquet";
import { UsageError } from "../errors.ts";
import type { Reader } from "./row.ts";
import { unreadable } from "./source.ts";

/** Parquet with any of its compressions. Columns of bytes that are not said to be text stay bytes. */
export const readParquet: Reader = async function* (file) {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  const attempt = async <T>(work: () => T | Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      const told = unreadable(file, cause);
      if (UsageError.is(told)) throw told;
      throw new UsageError(`${file.shown} cannot be read as Parquet: ${reason(cause)}.`, { cause });
    }
  };
  const source = await attempt(() => asyncBufferFromFile(file.path));
  const metadata = await attempt(() => parquetMetadataAsync(source));
  await attempt(() => check(metadata, source.byteLength));
  let rowStart = 0;
  for (const { num_rows: count } of metadata.row_groups) {
    const rowEnd = rowStart + Number(count);
    const rows: readonly Readonly<Record<string, unknown>>[] = await attempt(() =>
      parquetReadObjects({ file: source, metadata, compressors, utf8: false, rowStart, rowEnd }),
    );
    for (const values of rows) yield { values, origin: `${file.shown}, row ${rowStart++}` };
  }
};

/**
 * Checks that every column of every group has one place in the schema and one in the file. The library reads columns at once
 * and comes upon a broken one only while others are under way, whose failures nobody would then hear of.
 */
function check({ schema, row_groups: groups }: FileMetaData, size: number): void {
  const leaves = leavesOf([...schema]);
  for (const { columns } of groups) {
    const paths = columns.map(({ meta_data: column }) => (column?.path_in_schema ?? []).join("."));
    const odd = paths.find((path, i) => !leaves.has(path) || paths.indexOf(path) < i);
    if (odd !== undefined) throw new Error(`its schema does not have the column ${odd || "without a name"} once`);
    for (const { meta_data: column } of columns) {
      const start = Number(column?.dictionary_page_offset ?? column?.data_page_offset);
      const end = start + Number(column?.total_compressed_size);
      if (!(start >= 0 && start <= end && end <= size))
        throw new Error(`a column is to lie from byte ${start} to ${end}, the file ends at ${size}`);
    }
  }
}

/** Paths of the columns of a schema, whose elements come each before its children. */
function leavesOf(rest: FileMetaData["schema"]): ReadonlySet<string> {
  const leaves = new Set<string>();
  const walk = (path: readonly string[]): void => {
    const element = rest.shift();
    if (element === undefined) throw new Error("its schema breaks off");
    const at = [...path, element.name];
    const children = element.num_children ?? 0;
    if (children === 0) leaves.add(at.slice(1).join("."));
    for (let i = 0; i < children; i++) walk(at);
  };
  walk([]);
  return leaves;
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");
