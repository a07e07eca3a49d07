/** @file One run of a comparison: trained, or gone on with, or found finished; and what it came to. */
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { newestCheckpoint } from "@graftml/trainer/files";
import { trainSession } from "../commands/train.ts";
import { costsOf } from "../cost-lines.ts";
import { type deviceNames, type Opened, openRuntime } from "../device.ts";
import { openGiven } from "../inputs.ts";
import type { Io } from "../io.ts";
import { median } from "../median.ts";
import { names, writeWhole } from "../outputs.ts";
import { examplesOf, type SplitRecords } from "../plan.ts";
import type { Session } from "../session.ts";
import type { Summary } from "../training.ts";
import type { Cell } from "./cells.ts";
import { type Latency, latencyOf } from "./latency.ts";

/** What a finished cell left in its folder. */
export interface Finished {
  readonly summary: Summary;
  /** Median milliseconds of a step. */
  readonly ms_per_step: number;
  /** Null for a trial, which nobody uses. */
  readonly latency: Latency | null;
  /** Numbers that the base does not have. */
  readonly new_parameters: number;
}

/** What cells of a comparison share. */
export interface Bench {
  readonly io: Io;
  readonly records: SplitRecords;
  readonly device: (typeof deviceNames)[number];
  /** What a user types to go on after an interruption. */
  readonly command: string;
}

/** Written last: a cell that has it is done. */
const DONE = "cell.json";

export const isDone = ({ out }: Cell): boolean => existsSync(join(out, DONE));

/** Deletes what a cell has. */
export const forget = ({ out }: Cell): Promise<void> => rm(out, { recursive: true, force: true });

/**
 * Trains a cell unless it is done, goes on with it where it was interrupted, and measures what it left.
 * @param options.trial whether only its loss is wanted: its adapter is deleted then.
 * @throws {Interrupted} after Ctrl-C, once a checkpoint is saved.
 */
export async function finishCell(bench: Bench, cell: Cell, { trial }: { readonly trial: boolean }): Promise<Finished> {
  const file = join(cell.out, DONE);
  if (isDone(cell)) return readJson<Finished>(file);
  if (!existsSync(join(cell.out, names.summary))) await trainCell(bench, cell);
  const finished = await measured(bench, cell, { trial });
  if (trial) await rm(join(cell.out, names.adapter), { recursive: true, force: true });
  await writeWhole(file, `${JSON.stringify(finished, null, 2)}\n`);
  return finished;
}

/** Opens a session of a cell on a device, and closes that in the end. */
export async function withCell<R>(
  { records, device }: Bench,
  { run, source }: Cell,
  use: (session: Session, opened: Opened) => Promise<R>,
  options: { readonly trained?: string } = {},
): Promise<R> {
  const session = await openGiven(run, source, { given: records.train, ...options });
  const opened = await openRuntime(device, run.train.device_memory);
  try {
    return await use(session, opened);
  } finally {
    opened.runtime.dispose();
  }
}

const trainCell = (bench: Bench, cell: Cell): Promise<Summary> =>
  withCell(bench, cell, async (session, opened) => {
    const resume = (await newestCheckpoint(join(cell.out, names.checkpoints))) ?? undefined;
    const start = { out: cell.out, resume, command: bench.command, quiet: true };
    return trainSession(bench.io, session, examplesOf(session, bench.records), opened, start);
  });

async function measured(bench: Bench, cell: Cell, { trial }: { readonly trial: boolean }): Promise<Finished> {
  const summary = await readJson<Summary>(join(cell.out, names.summary));
  const lines = (await readFile(join(cell.out, names.metrics), "utf8")).trim().split("\n");
  const times = lines.flatMap((line) => (JSON.parse(line) as { readonly ms?: number }).ms ?? []); // our own lines
  const trained = join(cell.out, names.adapter);
  const measure = async (
    session: Session,
    { runtime }: Opened,
  ): Promise<Pick<Finished, "latency" | "new_parameters">> => ({
    latency: trial ? null : await latencyOf(runtime, session, examplesOf(session, bench.records).heldOut),
    new_parameters: costsOf(session).reduce((sum, { added }) => sum + added, 0),
  });
  return { summary, ms_per_step: median(times), ...(await withCell(bench, cell, measure, { trained })) };
}

/** A file of our own. */
const readJson = async <T>(file: string): Promise<T> => JSON.parse(await readFile(file, "utf8")) as T;
