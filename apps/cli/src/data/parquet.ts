/** @file Rows of Parquet files, a row group at a time. */
import type { FileMetaData } from "hyparquet";
import { UsageError } from "../errors.ts";
import type { Reader } from "./row.ts";
import { unreadable } from "./source.ts";

/** Parquet with any of its compressions. Columns of bytes that are not said to be text stay bytes. */
export const readParquet: Reader = async function* (file) {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  const attempt = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (cause) {
      const told = unreadable(file, cause);
      if (UsageError.is(told)) throw told;
      throw new UsageError(`${file.shown} cannot be read as Parquet: ${reason(cause)}.`, { cause });
    }
  };
  const source = await attempt(asyncBufferFromFile(file.path));
  const metadata = await attempt(parquetMetadataAsync(source).then(checked));
  let rowStart = 0;
  for (const { num_rows: count } of metadata.row_groups) {
    const rowEnd = rowStart + Number(count);
    const rows: readonly Readonly<Record<string, unknown>>[] = await attempt(
      parquetReadObjects({ file: source, metadata, compressors, utf8: false, rowStart, rowEnd }),
    );
    for (const values of rows) yield { values, origin: `${file.shown}, row ${rowStart++}` };
  }
};

/**
 * Checks that every column of every group has a place in the schema. The library reads columns at once and looks for the
 * place of a broken one only while others are under way, whose failures nobody would then hear of.
 */
function checked(metadata: FileMetaData): FileMetaData {
  const leaves = new Set<string>();
  const rest = [...metadata.schema];
  const walk = (path: readonly string[]): void => {
    const element = rest.shift();
    if (element === undefined) throw new Error("its schema breaks off");
    const at = [...path, element.name];
    const children = element.num_children ?? 0;
    if (children === 0) leaves.add(at.slice(1).join("\0"));
    for (let i = 0; i < children; i++) walk(at);
  };
  walk([]);
  for (const { columns } of metadata.row_groups)
    for (const { meta_data: column } of columns) {
      const path = column?.path_in_schema ?? [];
      if (!leaves.has(path.join("\0")))
        throw new Error(`its schema has no column ${path.join(".") || "without a name"}`);
    }
  return metadata;
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");
