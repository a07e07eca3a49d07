/** @file Values in a temporary file, read back by number: data may be larger than memory. */
import { randomUUID } from "node:crypto";
import { existsSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import type { Rows } from "@graftml/trainer";
import { UsageError } from "../errors.ts";

/** Values by number, to which more can be added. */
export interface Spool<T> extends Rows<T> {
  /** @throws {UsageError} if the disk is full. */
  add(value: T): void;
}

/** Bytes that are held before they are written, so that small data touch no disk. */
const HELD = 2 ** 24;

/** Numbers that are allocated at once. */
const PAGE = 2 ** 16;

/**
 * A spool without values. Of each that is added 8 bytes stay in memory: where it lies.
 * @param options.held bytes that are held before they are written; `folder`: where to.
 */
export function openSpool<T>({ held = HELD, folder = asideFolder() } = {}): Spool<T> {
  const pages: Float64Array[] = [];
  const pending = Buffer.allocUnsafe(held);
  let [length, written, filled] = [0, 0, 0];
  let file: number | undefined;

  const endOf = (number: number): number => pages[Math.floor(number / PAGE)]?.[number % PAGE] ?? 0;
  const write = (bytes: Buffer): void => {
    file ??= openNameless(folder);
    written += writeWhole(file, bytes, folder);
  };
  const flush = (): void => {
    if (filled > 0) write(pending.subarray(0, filled));
    filled = 0;
  };
  return {
    get length() {
      return length;
    },
    add(value) {
      const bytes = serialize(value);
      if (filled + bytes.length > held) flush();
      if (bytes.length > held) write(bytes);
      else filled += bytes.copy(pending, filled);
      const page = (pages[Math.floor(length / PAGE)] ??= new Float64Array(PAGE));
      page[length++ % PAGE] = written + filled;
    },
    at(number) {
      if (number < 0 || number >= length) return undefined;
      const [start, end] = [endOf(number - 1), endOf(number)];
      // Values may be views of the bytes that they are read from, so these are their own.
      const bytes =
        start >= written || file === undefined
          ? Buffer.from(pending.subarray(start - written, end - written))
          : readWhole(file, start, Buffer.allocUnsafe(end - start));
      return deserialize(bytes) as T; // what `add` was given
    },
  };
}

/** Where much can be put aside. The system's folder for temporary files is often one in memory, this one is not. @see file-hierarchy(7) */
const asideFolder = (): string =>
  process.env["TMPDIR"] === undefined && existsSync("/var/tmp") ? "/var/tmp" : tmpdir();

/** A file that nobody else sees and that is gone when the process is, however that ends: its name is taken away at once. */
function openNameless(folder: string): number {
  const path = join(folder, `graft-${randomUUID()}`);
  const file = openSync(path, "wx+", 0o600);
  unlinkSync(path);
  return file;
}

/** Writes all of the bytes at the end of a file; returns how many. */
function writeWhole(file: number, bytes: Buffer, folder: string): number {
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    return bytes.length;
  } catch (cause) {
    throw full(cause, folder);
  }
}

/** What a failure to write means, in words. */
export function full(cause: unknown, folder: string): unknown {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code !== "ENOSPC" && code !== "EDQUOT") return cause;
  return new UsageError(
    `the disk is full: rows are put aside in ${folder} while they are read. Make room there, or name another folder by the variable TMPDIR.`,
    { cause },
  );
}

function readWhole(file: number, start: number, into: Buffer): Buffer {
  for (let done = 0; done < into.length;) {
    const read = readSync(file, into, done, into.length - done, start + done);
    if (read === 0) throw new Error(`the file of rows ends at byte ${start + done}.`);
    done += read;
  }
  return into;
}
