/** @file Help on the keys of run files and methods, from their schemas. */
import { table } from "./io.ts";
import { keysOf, runSchema } from "./schema.ts";

/** A default as help shows it. */
export const showDefault = (value: unknown): string => (value === undefined ? "" : JSON.stringify(value));

/** The keys of a run file, one a line: flag, default, meaning. */
export const keysHelp = (): string =>
  table(
    keysOf(runSchema).map(({ key, default: fallback, description }) => [
      `  --${key}`,
      showDefault(fallback),
      description,
    ]),
  );
