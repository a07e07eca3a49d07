/** @file Help on the keys of run files and methods, from their schemas. */
import { table, wrap } from "./io.ts";
import { type KeyDoc, keysOf, runSchema } from "./schema.ts";

/** Keys, one a line: name, default, meaning. @param width columns of the terminal. */
export function keyTable(keys: readonly KeyDoc[], width: number, prefix = ""): string {
  const heads = table(
    keys.map(({ key, default: fallback }) => [
      `  ${prefix}${key}`,
      fallback === undefined ? "" : JSON.stringify(fallback),
      "",
    ]),
  ).split("\n");
  const start = Math.max(0, ...heads.map((head) => head.length));
  // Too narrow a column of prose reads badly: then lines may be longer than the terminal.
  const room = Math.max(width - start - 1, 30);
  return keys
    .map(({ description }, i) =>
      `${(heads[i] ?? "").padEnd(start)}${wrap(description, room, " ".repeat(start))}`.trimEnd(),
    )
    .join("\n");
}

/** The keys of a run file, one a line. */
export const keysHelp = (): string => {
  const own = keysOf(runSchema).filter(({ key }) => key !== "made_with");
  return keyTable(own, process.stdout.columns || 120, "--");
};
