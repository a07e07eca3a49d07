/** @file `graft validate`: every problem of a run file at once, without a device; data are read through. */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { GraftError } from "@graftml/tensor";
import { checkLabels } from "../data/labels.ts";
import { refusedType } from "../data/read.ts";
import { refuseProblems, UsageError } from "../errors.ts";
import type { KeyPath } from "../flags.ts";
import { readGiven } from "../inputs.ts";
import { finish, paint, showFile } from "../io.ts";
import { readRecords, type SplitRecords } from "../plan.ts";
import { percent, thousands } from "../render.ts";
import { checkRun, type RunSource } from "../run-file.ts";
import type { Run } from "../schema.ts";
import { countParameters, openSession, type Session } from "../session.ts";
import type { Command } from "../verbs.ts";

export const validate: Command = async (io, args) => {
  const { source, file } = readGiven(args);
  if (file === undefined) throw new UsageError("name a run file: graft validate run.yaml");
  const { value: run, problems } = checkRun(source);
  refuseProblems(problems);
  if (run === undefined) return;
  const missing = dataProblems(run, source);
  const read = missing.length > 0 ? { problems: [] } : await readLocal(run);
  const opened = await openSession(run, source, { given: read.records?.train });
  const session = opened.session;
  refuseProblems([
    ...opened.problems,
    ...read.problems,
    ...(session && read.records ? labelProblems(session, read.records) : []),
    ...(session !== undefined && session.trained === undefined
      ? [`${source.where([])}: nothing is trained: give methods, or an adapter that is not frozen.`]
      : []),
    ...missing,
    ...(run.out === undefined ? [`${source.where([])}: out is missing: the folder for what the run writes.`] : []),
  ]);
  if (session === undefined) return;
  const { trainable, total } = countParameters(session);
  finish(
    io,
    { valid: true, trainable, total, percent: (trainable / total) * 100 },
    `${paint("green", "✓", process.stdout)} ${file} is valid: it trains ${thousands(trainable)} of ${thousands(total)} parameters (${percent(trainable / total)}).`,
  );
};

/** Reads data that are on this machine, to their end or to what is broken. */
async function readLocal(
  run: Run,
): Promise<{ readonly records?: SplitRecords | undefined; readonly problems: readonly string[] }> {
  const files = [run.data.train ?? [], run.data.eval ?? []].flat();
  if (!files.every((file) => existsSync(file))) return { problems: [] };
  try {
    return { records: await readRecords(run), problems: [] };
  } catch (error) {
    if (!GraftError.is(error)) throw error;
    return { problems: error.message.split("\n") };
  }
}

/** The first label of each split that is none of the classes. */
const labelProblems = (session: Session, records: SplitRecords): readonly string[] =>
  Object.values(records).flatMap((rows) => {
    try {
      checkLabels(rows, session);
      return [];
    } catch (error) {
      if (!GraftError.is(error)) throw error;
      return [error.message];
    }
  });

function dataProblems({ data, train }: Run, source: RunSource): readonly string[] {
  const filesAt = (path: KeyPath, given: string | readonly string[] | undefined): readonly string[] =>
    [given ?? []].flat().flatMap((file, i) => {
      const where = source.where(typeof given === "string" ? path : [...path, i]);
      // A name on the Hub is looked up when it is read.
      if (!isAbsolute(file)) return [];
      if (!existsSync(file)) return [`${where}: there is no data file ${showFile(file)}.`];
      const refused = refusedType(file);
      return refused === undefined ? [] : [`${where}: ${refused}`];
    });
  return [
    ...(data.train === undefined
      ? [`${source.where(["data"])}: data.train is missing: a data file, or a list of them.`]
      : []),
    ...filesAt(["data", "train"], data.train),
    ...filesAt(["data", "eval"], data.eval),
    ...(train.eval_every > 0 && data.eval === undefined
      ? [`${source.where(["train", "eval_every"])}: train.eval_every needs data.eval.`]
      : []),
  ];
}
