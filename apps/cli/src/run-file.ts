/** @file Reading a run file: YAML or JSON with flags on top, checked against the schema, every problem with its line. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { nearest } from "@graftml/peft";
import { isAlias, isCollection, isMap, isPair, isScalar, LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { layoutsOf, refusedColumns } from "./data/columns.ts";
import { refusedType } from "./data/read.ts";
import { refuseProblems, UsageError } from "./errors.ts";
import { type Flag, flagOf, type KeyPath, showPath, withFlags } from "./flags.ts";
import { hubName } from "./hub/name.ts";
import { showFile } from "./io.ts";
import { type Run, runSchema } from "./schema.ts";

/** A run file with the flags given beside it. */
export interface RunSource {
  readonly content: unknown;
  /** Where a key stands: "run.yaml:12", or "--train.lr". */
  where(path: KeyPath): string;
  /** The folder that a path given under this key is relative to: the run file's, or the current one for a flag. */
  folder(path: KeyPath): string;
}

/**
 * Reads a run file, if there is one, and lays flags over it.
 * @throws {UsageError} if it cannot be read or is neither YAML nor JSON, with the line.
 */
export function readRunFile(file: string | undefined, flags: readonly Flag[]): RunSource {
  const counter = new LineCounter();
  const document =
    file === undefined ? undefined : parseDocument(textOf(file), { lineCounter: counter, prettyErrors: false });
  const name = file === undefined ? "" : showFile(file);
  const lineOf = (offset: number): string => `${name}:${counter.linePos(offset).line}`;
  refuseProblems(document?.errors.map((e) => `${lineOf(e.pos[0])}: ${e.message}`) ?? []);
  const content: unknown = document?.toJS() ?? {};
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new UsageError(
      `${name}: a run file is a map of keys (model, methods, data, train, out), not ${describe(content)}.`,
    );
  const flagFor = (path: KeyPath): Flag | undefined =>
    flags.findLast((flag) => flag.path.every((key, i) => key === path[i]));
  return {
    content: withFlags(content, flags),
    where(path) {
      const flag = flagFor(path);
      if (flag !== undefined) return flagOf(flag.path);
      return document === undefined ? "flags" : lineOf(offsetOf(document.contents, path));
    },
    folder: (path) => (file === undefined || flagFor(path) !== undefined ? process.cwd() : dirname(resolve(file))),
  };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new UsageError(code === "ENOENT" ? `there is no run file ${file}.` : `${file} cannot be read (${code}).`, {
      cause,
    });
  }
}

/** Offset of a key in a document, or of the deepest thing on the way to it. */
function offsetOf(contents: unknown, path: KeyPath): number {
  let node = contents;
  let offset = startOf(node);
  for (const key of path) {
    if (!isCollection(node)) break;
    const item = isMap(node)
      ? node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))
      : node.items[Number(key)];
    if (item === undefined) break;
    offset = startOf(isPair(item) ? item.key : item);
    node = isPair(item) ? item.value : item;
  }
  return offset;
}

const startOf = (node: unknown): number =>
  isCollection(node) || isScalar(node) || isAlias(node) ? (node.range?.[0] ?? 0) : 0;

/** What a check found, and whether it found anything wrong. */
export interface Checked<T> {
  readonly value: T | undefined;
  readonly problems: readonly string[];
}

/** Checks the content of a run file; the run's paths are made absolute. */
export function checkRun(source: RunSource): Checked<Run> {
  const { value, problems } = checkAgainst(runSchema, source.content, source, []);
  if (value === undefined) return { value, problems };
  const both = value.train.steps !== undefined && value.train.epochs !== undefined;
  const found = [
    ...problems,
    ...(both ? [`${source.where(["train", "epochs"])}: train.steps and train.epochs are both given; keep one.`] : []),
    ...(value.train.offload_activations && !value.train.checkpoint_activations
      ? [
          `${source.where(["train", "offload_activations"])}: train.offload_activations takes to the host what recomputed blocks are given; it needs train.checkpoint_activations: true.`,
        ]
      : []),
    ...columnProblems(value, source),
  ];
  return { value: found.length > 0 ? undefined : absolute(value, source), problems: found };
}

function columnProblems({ task, data: { columns } }: Run, source: RunSource): readonly string[] {
  const refused = columns && refusedColumns(columns, layoutsOf[task]);
  return refused === undefined ? [] : [`${source.where(["data", "columns"])}: data.columns ${refused}`];
}

/**
 * Parses a run file and its flags.
 * @throws {UsageError} listing every problem, each with its line and what was expected.
 */
export function parseRun(source: RunSource): Run {
  const { value, problems } = checkRun(source);
  refuseProblems(problems);
  if (value === undefined) throw new UsageError("the run file is empty.");
  return value;
}

/** Checks a value against a schema; keys in messages begin with `at`. */
export function checkAgainst<S extends z.ZodType>(
  schema: S,
  content: unknown,
  source: RunSource,
  at: KeyPath,
): Checked<z.output<S>> {
  const result = schema.safeParse(content, { reportInput: true });
  if (result.success) return { value: result.data, problems: [] };
  const problems = result.error.issues.flatMap((issue) => explain(issue, schema, content, at, source));
  return { value: undefined, problems };
}

type Issue = z.core.$ZodIssue;

function explain(issue: Issue, schema: z.ZodType, content: unknown, at: KeyPath, source: RunSource): readonly string[] {
  const path = [...at, ...issue.path.map((key) => (typeof key === "symbol" ? String(key) : key))];
  const line = (key: KeyPath, message: string): string => {
    const where = source.where(key);
    return where === flagOf(key) ? `${where}: ${message}` : `${where}: ${showPath(key)}: ${message}`;
  };
  if (issue.code !== "unrecognized_keys") return [line(path, expectation(issue, valueAt(content, issue.path)))];
  const known = knownKeys(schema, issue.path);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    const advice = near === undefined ? `Known here: ${known.join(", ")}.` : `Did you mean "${near}"?`;
    return line([...path, key], `unknown key. ${advice}`);
  });
}

/** What a value should have been, and what it is. */
function expectation(issue: Issue, value: unknown): string {
  const got = value === undefined ? "it is missing" : `got ${describe(value)}`;
  if (issue.code === "invalid_type") return `wants ${kinds[issue.expected] ?? issue.expected}; ${got}.`;
  if (issue.code === "invalid_value") {
    const known = issue.values.map(String);
    const near = typeof value === "string" ? nearest(value, known) : undefined;
    return `wants ${known.join(" | ")}; ${got}.${near === undefined ? "" : ` Did you mean "${near}"?`}`;
  }
  if (issue.code === "too_small") {
    if (issue.origin === "string" || issue.origin === "array") return "must not be empty.";
    return `must be ${issue.inclusive === true ? "at least" : "above"} ${issue.minimum}; ${got}.`;
  }
  if (issue.code === "too_big")
    return `must be ${issue.inclusive === true ? "at most" : "below"} ${issue.maximum}; ${got}.`;
  if (issue.code !== "invalid_union") return `${issue.message}; ${got}.`;
  // Where one alternative alone fits a value's type, zod tells its problems instead.
  const wants = issue.errors.flatMap((errors) => errors.slice(0, 1)).map(wanted);
  return `wants ${[...new Set(wants)].join(", or ")}; ${got}.`;
}

/** One alternative of a union in words. */
function wanted(issue: Issue): string {
  if (issue.code === "invalid_type") return kinds[issue.expected] ?? issue.expected;
  if (issue.code === "invalid_value") return issue.values.map((v) => JSON.stringify(v)).join(" | ");
  return issue.message;
}

const kinds: Readonly<Record<string, string>> = {
  number: "a number",
  int: "a whole number",
  string: "a text",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "a map of keys",
};

/** Keys that the schema knows at a path. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  const found = path.reduce<readonly z.ZodType[]>(
    (at, key) => at.flatMap(alternatives).flatMap((s) => inside(s, key)),
    [schema],
  );
  return found.flatMap(alternatives).flatMap((s) => (s instanceof z.ZodObject ? Object.keys(s.shape) : []));
}

/** What a schema may stand for: defaults and the like taken off, unions taken apart. */
function alternatives(schema: z.ZodType): readonly z.ZodType[] {
  if (schema instanceof z.ZodArray) return [schema];
  if (schema instanceof z.ZodUnion) return (schema.options as readonly z.ZodType[]).flatMap(alternatives); // schemas they are
  return "unwrap" in schema && typeof schema.unwrap === "function"
    ? alternatives((schema.unwrap as () => z.ZodType)())
    : [schema];
}

/** The schema of a member. */
function inside(schema: z.ZodType, key: PropertyKey): readonly z.ZodType[] {
  if (schema instanceof z.ZodArray) return [schema.element as z.ZodType]; // a schema it is
  const member: unknown =
    schema instanceof z.ZodObject ? (schema.shape as Record<PropertyKey, unknown>)[key] : undefined;
  return member instanceof z.ZodType ? [member] : [];
}

const valueAt = (content: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], content);

function describe(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a map" : JSON.stringify(value);
}

/** The run with its paths absolute. What is not there, but could be on the Hub, stays a name. */
function absolute(run: Run, source: RunSource): Run {
  const at = (path: KeyPath, given: string): string => resolve(source.folder(path), given);
  const place = (path: KeyPath, given: string): string => {
    const here = at(path, given);
    return hubName(given) === undefined || existsSync(here) ? here : given;
  };
  // "data/train.jsonl" is a file that is missing rather than a data set of that name.
  const data = (path: KeyPath, given: string): string =>
    hubName(given)?.path === "" && refusedType(given) === undefined ? at(path, given) : place(path, given);
  const list = (path: KeyPath, given: string | readonly string[]): string | string[] =>
    typeof given === "string" ? data(path, given) : given.map((file, i) => data([...path, i], file));
  const { adapter, out } = run;
  const start = <S extends { readonly path: string }>(entry: S, path: KeyPath): S => ({
    ...entry,
    path: place(path, entry.path),
  });
  return {
    ...run,
    model: place(["model"], run.model),
    methods: run.methods.map((m, i) =>
      /^\.{0,2}\//.test(m.name) ? { ...m, name: at(["methods", i, "name"], m.name) } : m,
    ),
    ...(adapter !== undefined && {
      adapter:
        typeof adapter === "string"
          ? place(["adapter"], adapter)
          : Array.isArray(adapter)
            ? adapter.map((entry, i) => start(entry, ["adapter", i, "path"]))
            : start(adapter, ["adapter", "path"]),
    }),
    data: {
      ...run.data,
      ...(run.data.train !== undefined && { train: list(["data", "train"], run.data.train) }),
      ...(run.data.eval !== undefined && { eval: list(["data", "eval"], run.data.eval) }),
    },
    ...(out !== undefined && { out: at(["out"], out) }),
  };
}
