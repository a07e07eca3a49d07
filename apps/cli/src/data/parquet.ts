/** @file Rows of Parquet files, a row group at a time. */
import { UsageError } from "../errors.ts";
import type { Entry, Reader } from "./row.ts";
import { unreadable } from "./source.ts";

/** Rows that are decoded at once. */
const AT_ONCE = 1024;

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
  const total = Number(metadata.num_rows);
  for (let rowStart = 0; rowStart < total; rowStart += AT_ONCE) {
    const rowEnd = Math.min(total, rowStart + AT_ONCE);
    const rows: readonly Readonly<Record<string, unknown>>[] = await attempt(
      parquetReadObjects({ file: source, metadata, compressors, utf8: false, useOffsetIndex: true, rowStart, rowEnd }),
    );
    yield* rows.map((values, i): Entry => ({ values, origin: `${file.shown}, row ${rowStart + i}` }));
  }
};

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");
