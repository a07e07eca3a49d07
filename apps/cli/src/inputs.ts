/** @file What most commands begin with: a run file and flags, checked and opened. */
import { dirname } from "node:path";
import { nearest } from "@graftml/peft";
import { classesInRun } from "./data/labels.ts";
import { refuseProblems, UsageError } from "./errors.ts";
import { parseFlags } from "./flags.ts";
import { parseRun, readRunFile, type RunSource } from "./run-file.ts";
import { DEFAULT_STEPS, type Run, runSchema } from "./schema.ts";
import { finishedAdapter, openSession, type Session, type SessionOptions } from "./session.ts";

/** A run as a command got it. */
export interface Given {
  readonly source: RunSource;
  /** The run file, if one was named. */
  readonly file: string | undefined;
  /** Whether a key was given as a flag. */
  readonly flagged: (key: string) => boolean;
}

/**
 * Reads the run file and the flags of a command.
 * @param own keys that mean something else to this command and are left out.
 * @throws {UsageError} for more than one run file.
 */
export function readGiven(
  args: readonly string[],
  own: readonly string[] = [],
): Given & { readonly values: ReadonlyMap<string, unknown> } {
  const { flags, rest } = parseFlags(args);
  const [file, other] = rest;
  if (other !== undefined) throw new UsageError(`one run file at a time: got ${rest.join(" and ")}.`);
  const isOwn = (key: string | number | undefined): boolean => typeof key === "string" && own.includes(key);
  return {
    source: readRunFile(
      file,
      flags.filter((flag) => !isOwn(flag.path[0])),
    ),
    file,
    flagged: (key) => flags.some((flag) => flag.path[0] === key),
    values: new Map(flags.filter((flag) => isOwn(flag.path[0])).map((flag) => [flag.path.join("."), flag.value])),
  };
}

/**
 * Looks for misspelt options of a command among arguments that would be taken for keys of a run file.
 * @throws {UsageError} naming the option that was probably meant.
 */
export function refuseMisspelt(args: readonly string[], own: readonly string[]): void {
  const keys = Object.keys(runSchema.shape).map((key) => `--${key}`);
  for (const arg of args) {
    const name = arg.split("=")[0] ?? arg;
    if (!name.startsWith("--") || name.includes(".") || keys.includes(name)) continue;
    const near = nearest(name, [...keys, ...own]);
    if (near !== undefined) throw new UsageError(`unknown option ${name}. Did you mean ${near}?`);
  }
}

/**
 * Opens what a run file names, without a device.
 * @throws {UsageError} listing every problem.
 */
export async function openGiven(run: Run, source: RunSource, options: SessionOptions = {}): Promise<Session> {
  const { session, problems } = await openSession(run, source, options);
  refuseProblems(problems);
  if (session === undefined) throw new UsageError("the run could not be opened.");
  return session;
}

/**
 * Opens what is to be used, not trained: the adapter of a finished run if a run file is named, else the one that --adapter
 * names, if any. The model's own dropouts have no part in that.
 * @throws {UsageError} if the run has not been trained.
 */
export async function openTrained(given: Given, options: SessionOptions = {}): Promise<Session> {
  const parsed = { ...parseRun(given.source), model_dropout: 0 };
  const adapter = typeof parsed.adapter === "string" ? dirname(parsed.adapter) : undefined;
  const folder = given.file === undefined || given.flagged("adapter") ? adapter : parsed.out;
  const classes = folder === undefined ? {} : classesInRun(folder);
  const run = { ...parsed, data: { ...classes, ...parsed.data } };
  if (given.file === undefined || given.flagged("adapter")) return openGiven(run, given.source, options);
  const trained = finishedAdapter(run);
  if (trained === undefined)
    throw new UsageError(
      `${given.file} has not been trained: ${run.out ?? "its out"} has no adapter. Run \`graft train ${given.file}\`, or name one with --adapter.`,
    );
  return openGiven(run, given.source, { ...options, trained });
}

/** A key that a command needs. @throws {UsageError} if it is missing. */
export function needed<T>(value: T | undefined, key: string, { source, file }: Given): T {
  if (value !== undefined) return value;
  throw new UsageError(
    `${file === undefined ? "" : `${source.where([])}: `}${key} is missing; this command needs it (--${key} …).`,
  );
}

/** Optimizer steps of a run over rows that take `perEpoch` steps. */
export const stepsOf = ({ train: { steps, epochs } }: Run, perEpoch: number): number =>
  steps ?? (epochs === undefined ? DEFAULT_STEPS : Math.ceil(epochs * perEpoch));
