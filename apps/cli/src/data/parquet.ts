/** @file Rows of Parquet files, a row group at a time. */
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
  const metadata = await attempt(parquetMetadataAsync(source));
  let rowStart = 0;
  for (const { num_rows: count } of metadata.row_groups) {
    const rowEnd = rowStart + Number(count);
    const rows: readonly Readonly<Record<string, unknown>>[] = await attempt(
      parquetReadObjects({ file: source, metadata, compressors, utf8: false, rowStart, rowEnd }),
    );
    for (const values of rows) yield { values, origin: `${file.shown}, row ${rowStart++}` };
  }
};

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");
