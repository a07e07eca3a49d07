/** @file `graft validate`: every problem of a run file at once, without a device and without reading the data. */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { refusedType } from "../data/read.ts";
import { refuseProblems, UsageError } from "../errors.ts";
import type { KeyPath } from "../flags.ts";
import { readGiven } from "../inputs.ts";
import { finish, paint, showFile } from "../io.ts";
import { percent, thousands } from "../render.ts";
import { checkRun, type RunSource } from "../run-file.ts";
import type { Run } from "../schema.ts";
import { countParameters, openSession } from "../session.ts";
import type { Command } from "../verbs.ts";

export const validate: Command = async (io, args) => {
  const { source, file } = readGiven(args);
  if (file === undefined) throw new UsageError("name a run file: graft validate run.yaml");
  const { value: run, problems } = checkRun(source);
  refuseProblems(problems);
  if (run === undefined) return;
  const opened = await openSession(run, source);
  const session = opened.session;
  refuseProblems([
    ...opened.problems,
    ...(session !== undefined && session.trained === undefined
      ? [`${source.where([])}: nothing is trained: give methods, or an adapter that is not frozen.`]
      : []),
    ...dataProblems(run, source),
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
