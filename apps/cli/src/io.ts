/** @file Where a command writes: one JSON value or its result to stdout, everything else to stderr. */
import { relative } from "node:path";
import { stripVTControlCharacters, styleText } from "node:util";

/** What commands print through; tests give their own. */
export interface Io {
  /** Whether stdout is for a machine: one JSON value and nothing else. */
  readonly json: boolean;
  /** Whether stderr is a terminal that lines can be rewritten on. */
  readonly live: boolean;
  /** Columns of the terminal; Infinity where there is none. */
  readonly width: number;
  /** Writes to stdout. */
  out(text: string): void;
  /** Writes to stderr. */
  err(text: string): void;
  /** Whether work has begun: errors are then failures and no longer refusals. */
  begun: boolean;
}

/** The process's own streams. */
export const processIo = ({ json }: { readonly json: boolean }): Io => ({
  json,
  live: process.stderr.isTTY && !json && process.env["TERM"] !== "dumb",
  get width() {
    return process.stderr.columns || Infinity;
  },
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  begun: false,
});

/** Ends a command: the value as JSON, or as words, on stdout. */
export function finish(io: Io, value: unknown, words: string): void {
  if (io.json) io.out(`${JSON.stringify(value)}\n`);
  else if (words !== "") io.out(`${words}\n`);
}

type Style = Parameters<typeof styleText>[0];

/** Styles for text on stderr, or on stdout; plain where the stream is no terminal or NO_COLOR is set. */
export const paint = (style: Style, text: string, stream: NodeJS.WriteStream = process.stderr): string =>
  styleText(style, text, { stream });

/** Length of a text as it is seen. */
export const seenLength = (text: string): number => stripVTControlCharacters(text).length;

/** Lines "label  value" with labels in one column. */
export function table(rows: readonly (readonly string[])[], gap = 2): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map((row) => seenLength(row[i] ?? ""))));
  return rows
    .map((row) =>
      row
        .map((text, i) => (i === row.length - 1 ? text : text + " ".repeat((widths[i] ?? 0) - seenLength(text) + gap)))
        .join(""),
    )
    .join("\n");
}

/** A text in lines of at most `width` columns, broken between words; `indent` comes before all lines but the first. */
export function wrap(text: string, width: number, indent = ""): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.pop();
    if (line === undefined) lines.push(word);
    else if (seenLength(line) + 1 + seenLength(word) > width) lines.push(line, word);
    else lines.push(`${line} ${word}`);
  }
  return lines.join(`\n${indent}`);
}

/** A path as messages name it: from the current folder, or whole where that is shorter. */
export function showFile(path: string): string {
  const near = relative("", path) || ".";
  return near.length < path.length ? near : path;
}
