/** @file Which column plays which part, and what a column's values must be for that. */
import type { Turn } from "@graftml/models";
import { nearest } from "@graftml/peft";
import { UsageError } from "../errors.ts";
import type { ClassNames } from "./classes.ts";
import { imageIn } from "./image.ts";
import type { Columns, Entry, Part, Parts, Row } from "./row.ts";

/** Parts that make an example together, such as prompt and completion. */
export type Layout = readonly Part[];

/** The layouts that each task takes, by its name in run files. */
export const layoutsOf = {
  "causal-lm": [["text"], ["prompt", "completion"], ["messages"]],
  "masked-lm": [["text"]],
  "seq2seq-lm": [["source", "target"]],
  "sequence-classification": [
    ["text", "label"],
    ["text", "pair", "label"],
  ],
  "token-classification": [["tokens", "tags"]],
  "image-classification": [["image", "label"]],
} as const satisfies Readonly<Record<string, readonly Layout[]>>;

/** Layouts in words: "text; prompt and completion". */
const showLayouts = (known: readonly Layout[]): string => known.map((parts) => parts.join(" and ")).join("; ");

const same = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((part) => b.includes(part));

/** What is wrong with columns that a run file names, or undefined: they must make one of the layouts. */
export function refusedColumns(columns: Columns, known: readonly Layout[]): string | undefined {
  const given = Object.keys(columns);
  if (known.some((layout) => same(layout, given))) return undefined;
  return `names ${given.join(" and ") || "nothing"}; wants one of: ${showLayouts(known)}.`;
}

/**
 * The columns of a file whose run names none: those called like the parts. A layout that holds all of another one is meant
 * where both are there.
 * @throws {UsageError} if none is there, or several.
 */
export function inferColumns(names: readonly string[], known: readonly Layout[], shown: string): Columns {
  const there = known.filter((layout) => layout.every((part) => names.includes(part)));
  const widest = there.filter(
    (layout) => !there.some((other) => other.length > layout.length && layout.every((part) => other.includes(part))),
  );
  const [found, other] = widest;
  if (found !== undefined && other === undefined) return Object.fromEntries(found.map((part) => [part, part]));
  throw new UsageError(
    found === undefined
      ? `${shown} has the columns ${names.map(quoted).join(", ")}; none is called like a part of: ${showLayouts(known)}. Say which is which with data.columns, by number from 0 if the file has no header.`
      : `${shown} has columns for ${widest.map((layout) => layout.join(" and ")).join(", and for ")}. Say which are meant with data.columns.`,
  );
}

/** Longest name of a column that a message quotes: a file without a header has texts there. */
const QUOTED = 32;
const quoted = (name: string): string => JSON.stringify(name.length > QUOTED ? `${name.slice(0, QUOTED)}…` : name);

/** Reads the value of a part; `where` names the row and the column. */
type Cell<P extends Part> = (value: unknown, where: string, file: string) => Parts[P] | Promise<Parts[P]>;

const cells: { readonly [P in Part]: Cell<P> } = {
  text,
  pair: text,
  prompt: text,
  completion: text,
  source: text,
  target: text,
  label: (value, where) =>
    Array.isArray(value) ? value.map((one, i) => scalar(one, `${where}[${i}]`)) : scalar(value, where),
  messages: turnsOf,
  tokens: (value, where) => list(value, where, "words").map((word, i) => text(word, `${where}[${i}]`)),
  tags: (value, where) => list(value, where, "tags").map((tag, i) => scalar(tag, `${where}[${i}]`)),
  image: (value, where, file) => imageIn(value, file, where),
};

/** What is the same for all records of a file. */
interface FileFacts {
  /** Its path: paths of images are relative to it. */
  readonly path: string;
  readonly columns: Columns;
  /** Columns of its first record. */
  readonly names: readonly string[];
  readonly classes: ClassNames;
}

/**
 * The parts of a record.
 * @throws {UsageError} if a column is missing or holds something else.
 */
export async function partsOf(entry: Entry, file: FileFacts): Promise<Omit<Row, "origin" | "running">> {
  const chat = chatOf(entry, file);
  if (chat !== undefined) return chat;
  const parts: [string, unknown][] = [];
  for (const [part, column] of Object.entries(file.columns)) {
    if (column === undefined) continue;
    const value = valueOf(entry, column, file);
    const where = whereOf(entry, column);
    if (part === "label" && (value === null || value === ""))
      throw new UsageError(`${where} is empty: the row has no label. Give it one, or drop the row.`);
    // Columns have the keys of parts, of which each has its cell.
    const cell = await cells[part as Part](value, where, file.path);
    parts.push([part, part === "label" || part === "tags" ? named(cell, file.classes[column], where) : cell]);
  }
  return Object.fromEntries(parts);
}

/**
 * Labels by name, where the data set names its classes and has their numbers.
 * @throws {UsageError} for −1, which stands for none.
 */
function named(given: unknown, names: readonly string[] | undefined, where: string): unknown {
  if (names === undefined) return given;
  if (Array.isArray(given)) return given.map((one) => named(one, names, where));
  if (Number(given) === -1) throw new UsageError(`${where} is -1: the row has no label. Give it one, or drop the row.`);
  return names.includes(String(given)) || given === "" ? given : (names[Number(given)] ?? given);
}

/** A prompt and a completion that are turns, as TRL has them: one chat, of which the completion is learnt. */
function chatOf(entry: Entry, file: FileFacts): Pick<Row, "messages" | "asked"> | undefined {
  const { prompt, completion } = file.columns;
  if (prompt === undefined || completion === undefined) return undefined;
  const [asked, answer] = [prompt, completion].map((column) => valueOf(entry, column, file));
  if (!Array.isArray(asked) && !Array.isArray(answer)) return undefined;
  const turns = turnsOf(asked, whereOf(entry, prompt));
  return { messages: [...turns, ...turnsOf(answer, whereOf(entry, completion))], asked: turns.length };
}

const whereOf = ({ origin }: Entry, column: string | number): string => `${origin}: column "${column}"`;

function valueOf({ values, origin }: Entry, column: string | number, { names }: FileFacts): unknown {
  const value = values[column];
  if (value !== undefined) return value;
  if (names.includes(String(column)))
    throw new UsageError(
      `${origin}: the row has no column "${column}", which the first row of the file has. Add it, or drop the row.`,
    );
  const known = Object.keys(values);
  const near = nearest(String(column), known);
  throw new UsageError(
    `${origin}: there is no column "${column}".${near === undefined ? "" : ` Did you mean "${near}"?`} Columns: ${known.join(", ")}. Say which one it is with data.columns.`,
  );
}

/** A number; Parquet's are often of 64 bits. */
const number = (value: unknown): number | undefined =>
  typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : undefined;

const scalar = (value: unknown, where: string): string | number => number(value) ?? text(value, where);

function text(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return utf8(value, where);
  throw new UsageError(`${where} holds ${kindOf(value)}, not a text.`);
}

function utf8(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(`${where} holds bytes that are not UTF-8 text.`, { cause });
  }
}

function list(value: unknown, where: string, of: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new UsageError(`${where} holds ${kindOf(value)}, not a list of ${of}.`);
}

/** Roles of ShareGPT's chats, whose turns are { from, value }, by the names of all others. */
const roles: Readonly<Record<string, string>> = { human: "user", gpt: "assistant" };

function turnsOf(value: unknown, where: string): readonly Turn[] {
  return list(value, where, "turns").map((turn, i) => message(turn, `${where}[${i}]`));
}

function message(turn: unknown, where: string): Turn {
  if (typeof turn !== "object" || turn === null)
    throw new UsageError(`${where} is ${kindOf(turn)}, not { role, content }.`);
  const { from, value, ...rest } = turn as Readonly<Record<string, unknown>>; // an object, just checked
  const { role = typeof from === "string" ? (roles[from] ?? from) : from, content = value } = rest;
  if (typeof role !== "string") throw new UsageError(`${where} has no role: a turn is { role, content }.`);
  return { ...rest, role, content: content === null ? "" : text(content, `${where}: content`) };
}

const kindOf = (value: unknown): string => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : typeof value === "undefined" ? "nothing" : `a ${typeof value}`;
};
