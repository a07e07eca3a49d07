/** @file Keys of a run file given as flags: `--train.lr 1e-3`, `--methods.0.rank 16`. */
import { parse } from "yaml";
import { UsageError } from "./errors.ts";

/** A key in a run file: ["methods", 0, "rank"]. */
export type KeyPath = readonly (string | number)[];

/** One key given on the command line. */
export interface Flag {
  readonly path: KeyPath;
  readonly value: unknown;
}

/** "methods[0].rank": a key as messages name it. */
export const showPath = (path: KeyPath): string =>
  path.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`)).join("");

/** "--methods.0.rank": the flag that gives a key. */
export const flagOf = (path: KeyPath): string => `--${path.join(".")}`;

/**
 * Splits arguments into flags and all others. A value is what follows, or stands behind "="; a flag without one is true.
 * Values are YAML, so that numbers, booleans and lists are what they are in a run file.
 * @throws {UsageError} for a short option, or a value that is no YAML.
 */
export function parseFlags(args: readonly string[]): {
  readonly flags: readonly Flag[];
  readonly rest: readonly string[];
} {
  const flags: Flag[] = [];
  const rest: string[] = [];
  const queue = [...args];
  for (let arg = queue.shift(); arg !== undefined; arg = queue.shift()) {
    if (!arg.startsWith("-") || arg === "-") {
      rest.push(arg);
      continue;
    }
    const [, key, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (key === undefined)
      throw new UsageError(`${arg} is no option. Keys of a run file are given as --train.lr 1e-3.`);
    const value = inline ?? (queue[0] === undefined || queue[0].startsWith("--") ? "true" : queue.shift());
    flags.push({ path: pathOf(key), value: valueOf(key, value ?? "") });
  }
  return { flags, rest };
}

const pathOf = (key: string): KeyPath => key.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part));

function valueOf(key: string, text: string): unknown {
  try {
    return text === "" ? "" : (parse(text) as unknown);
  } catch {
    throw new UsageError(`--${key}: ${JSON.stringify(text)} is neither a value nor a list. Quote it: --${key} '"…"'.`);
  }
}

/** A copy of a run file's content with the flags' values in place; objects and lists on the way are made. */
export function withFlags(content: unknown, flags: readonly Flag[]): unknown {
  return flags.reduce((value, { path, value: given }) => put(value, path, given), content);
}

function put(container: unknown, [key, ...rest]: KeyPath, value: unknown): unknown {
  if (key === undefined) return value;
  if (typeof key === "number") {
    const list: unknown[] = Array.isArray(container) ? [...(container as readonly unknown[])] : [];
    list[key] = put(list[key], rest, value);
    return list;
  }
  const object = typeof container === "object" && container !== null ? (container as Record<string, unknown>) : {};
  return { ...object, [key]: put(object[key], rest, value) };
}
