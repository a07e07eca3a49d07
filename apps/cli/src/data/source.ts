/** @file Data files as streams: bytes, checked UTF-8, lines of a bounded length. Nothing is held but the piece at hand. */
import { createReadStream } from "node:fs";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { UsageError } from "../errors.ts";
import type { DataFile } from "./row.ts";

/** Longest line or record, in characters: what is longer is not a row but a file without line ends. */
export const LONGEST = 2 ** 24;

/** The end of names of files that are packed. */
export const PACKED = ".gz";

/** A file's bytes, unpacked if its name ends in ".gz". */
function bytesOf({ path }: DataFile): Readable {
  const bytes = createReadStream(path, { highWaterMark: 2 ** 18 });
  if (!path.toLowerCase().endsWith(PACKED)) return bytes;
  const unpacked = new PassThrough();
  // A failure reaches the reader through the stream itself.
  pipeline(bytes, createGunzip(), unpacked).catch((error: unknown) => unpacked.destroy(asError(error)));
  return unpacked;
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** A file's text in pieces, without its byte-order mark. @throws {UsageError} if it cannot be read or is not UTF-8. */
export async function* textOf(file: DataFile): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    for await (const bytes of bytesOf(file)) yield decoder.decode(bytes as Uint8Array, { stream: true }); // no encoding is set
    yield decoder.decode();
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** The code of a system's error; other libraries have numbers there. */
function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown }; // whatever was thrown
  return typeof code === "string" ? code : undefined;
}

/** Why a file cannot be read, in words. */
export function unreadable({ shown }: DataFile, cause: unknown): unknown {
  const code = codeOf(cause);
  if (code === "ENOENT") return new UsageError(`there is no data file ${shown}.`, { cause });
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") return new UsageError(`${shown} is not UTF-8 text.`, { cause });
  if (code?.startsWith("Z_") === true)
    return new UsageError(`${shown} cannot be unpacked: it is damaged, or not gzip.`, { cause });
  return code === undefined || !/^E[A-Z]+$/.test(code)
    ? cause
    : new UsageError(`${shown} cannot be read (${code}).`, { cause });
}

/** A line of a file, without its end. */
export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
}

/** A file's lines; they may end in CR LF. @throws {UsageError} for a line that is too long. */
export async function* linesOf(file: DataFile): AsyncGenerator<Line> {
  let [rest, number] = ["", 1];
  for await (const piece of textOf(file)) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      refuseLong(line, file, number);
      yield { text: line.endsWith("\r") ? line.slice(0, -1) : line, number: number++ };
    }
    refuseLong(rest, file, number);
  }
  if (rest !== "") yield { text: rest, number };
}

function refuseLong(line: string, { shown }: DataFile, number: number): void {
  if (line.length > LONGEST)
    throw new UsageError(
      `${shown}:${number}: the line is longer than ${LONGEST / 2 ** 20} million characters; is it data?`,
    );
}
