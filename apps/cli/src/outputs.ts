/** @file What a run writes: claimed before anything is overwritten, each file whole or not at all. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, isAbsolute, join, relative } from "node:path";
import { newestCheckpoint } from "@graftml/trainer/files";
import { stringify } from "yaml";
import { UsageError } from "./errors.ts";
import { showFile } from "./io.ts";
import type { Run } from "./schema.ts";

/** Files of a run, by their names in its folder. */
export const names = {
  run: "run.yaml",
  metrics: "metrics.jsonl",
  adapter: "adapter",
  checkpoints: "checkpoints",
  summary: "summary.json",
} as const;

/** How a folder may be taken that holds a run already. */
export interface Claim {
  /** Go on from the last checkpoint. */
  readonly resume: boolean;
  /** Delete what an earlier run left. */
  readonly force: boolean;
}

/**
 * Checks that a run may write to its folder; nothing is changed.
 * @returns the checkpoint to resume, or undefined for a fresh start.
 * @throws {UsageError} if another run lies there, or there is no checkpoint to resume.
 */
export async function claim(out: string, { resume, force }: Claim): Promise<string | undefined> {
  const shown = showFile(out);
  const finished = existsSync(join(out, names.summary)) || existsSync(join(out, names.adapter));
  const checkpoint = await newestCheckpoint(join(out, names.checkpoints));
  if (resume) {
    if (checkpoint !== null) return checkpoint;
    throw new UsageError(
      `${shown} has no checkpoint to resume${finished ? ": its run is finished" : ""}. Leave out --resume to start.`,
    );
  }
  if (force || (!finished && checkpoint === null)) return undefined;
  throw new UsageError(
    finished
      ? `${shown} holds a finished run. Choose another folder (--out), or delete what it left with --force.`
      : `${shown} holds an interrupted run. Go on with --resume, choose another folder (--out), or start over with --force.`,
  );
}

/** Deletes what an earlier run left. */
export async function clear(out: string): Promise<void> {
  for (const name of Object.values(names)) await rm(join(out, name), { recursive: true, force: true });
}

/** Writes a file whole or not at all. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const fresh = `${path}.${process.pid}.new`;
  try {
    const file = await open(fresh, "w");
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}

/**
 * The run as resolved, as YAML: its own paths are relative to it, so that folders can be moved together. Names on the Hub stay
 * as they are.
 */
export function resolvedYaml(run: Run, out: string, madeWith: Readonly<Record<string, string>>): string {
  const near = (path: string): string => (isAbsolute(path) ? relative(out, path) || "." : path);
  const files = (given: string | readonly string[] | undefined): unknown =>
    typeof given === "object" ? given.map(near) : given && near(given);
  const start = <S extends { readonly path: string }>(entry: S): S => ({ ...entry, path: near(entry.path) });
  const { adapter, data } = run;
  const { train, eval: held, ...rest } = data;
  return stringify({
    ...run,
    model: near(run.model),
    methods: run.methods.map((m) => (m.name.startsWith("/") ? { ...m, name: `./${near(m.name)}` } : m)),
    adapter:
      adapter === undefined
        ? undefined
        : typeof adapter === "string"
          ? near(adapter)
          : Array.isArray(adapter)
            ? adapter.map(start)
            : start(adapter),
    data: { train: files(train), eval: files(held), ...rest },
    out: ".",
    made_with: madeWith,
  });
}

/** A file of JSON lines that is written line by line. */
export interface Lines {
  add(value: unknown): void;
  close(): void;
}

/**
 * Opens metrics.jsonl. Every line is handed to the system when it is added.
 * @param done optimizer steps that are kept: a resumed run writes the lines of later ones again.
 */
export async function openMetrics(path: string, done: number): Promise<Lines> {
  const kept =
    existsSync(path) && done > 0
      ? readFileSync(path, "utf8")
          .split("\n")
          .filter((line) => stepOf(line) <= done)
      : [];
  await writeWhole(path, kept.map((line) => `${line}\n`).join(""));
  const file = openSync(path, "a");
  return {
    add: (value) => void writeSync(file, `${JSON.stringify(value)}\n`),
    close: () => {
      fsyncSync(file);
      closeSync(file);
    },
  };
}

/** Step that a line is about; none for the empty end, or a line that a crash cut off. */
function stepOf(line: string): number {
  try {
    return (JSON.parse(line) as { readonly step: number }).step; // our own lines
  } catch {
    return Infinity;
  }
}
