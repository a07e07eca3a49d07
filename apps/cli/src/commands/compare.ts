/** @file `graft compare`: the same run with each of several methods, what each costs and what it reaches. */
import { join } from "node:path";
import { stepsIn } from "@graftml/trainer";
import { type Bench, finishCell, type Finished, forget, isDone } from "../compare/cell.ts";
import { type Cell, cellOf, entriesOf, type Entry } from "../compare/cells.ts";
import { lengthOf, stepTime } from "../compare/pace.ts";
import { cellsOf, markdownOf, referenceOf, type Row, rowOf } from "../compare/table.ts";
import { refuseUnlearnt } from "../data/encode.ts";
import { deviceOf } from "../device.ts";
import { UsageError } from "../errors.ts";
import { needed, openGiven, readGiven, stepsOf } from "../inputs.ts";
import { finish, type Io, paint, showFile, table } from "../io.ts";
import { writeWhole } from "../outputs.ts";
import { examplesOf, readRecords } from "../plan.ts";
import { precisionLine } from "../precision.ts";
import { duration } from "../render.ts";
import { parseRun } from "../run-file.ts";
import type { Command, Options } from "../verbs.ts";
import { called } from "../versions.ts";
import { quoted } from "./train.ts";

/** What is trained for one row of the table. */
interface Plan {
  readonly entry: Entry;
  /** Short runs, one for each learning rate; none where there is but one rate. */
  readonly trials: readonly Cell[];
  /** Runs at a learning rate, one for each seed. */
  readonly runs: (lr: number) => readonly Cell[];
}

export const compare: Command = async (io, args, options) => {
  const all = [...args, ...listsOf(options)];
  const given = readGiven(all);
  const { source } = given;
  const run = parseRun(source);
  needed(run.data.train, "data.train", given);
  needed(run.data.eval, "data.eval", given);
  const out = join(needed(run.out, "out", given), "compare");
  const methods = needed(run.compare?.methods, "compare.methods", given);
  const { batch_size: batchSize, accumulate, seed, lr: fallback } = run.train;
  const records = await readRecords(run);
  const steps = stepsOf(run, stepsIn({ rows: records.train.length, batchSize, accumulate }));
  const { seeds = [seed], tries = Math.max(1, Math.floor(steps / 4)) } = run.compare ?? {};
  const plans = entriesOf({ ...run.compare, methods }, fallback).map((entry): Plan => {
    const { rates } = entry;
    const trial = (lr: number): Cell => cellOf(source, entry, { lr, seed: seeds[0] ?? seed, steps: tries });
    return {
      entry,
      trials: rates.length > 1 ? rates.map(trial) : [],
      runs: (lr) => seeds.map((s) => cellOf(source, entry, { lr, seed: s, steps })),
    };
  });
  const device = deviceOf(options);
  const again = [...all, ...(device === "webgpu" ? [] : ["--device", device])];
  const bench: Bench = { io, records, device, command: [called, "compare", ...again.map(quoted)].join(" ") };
  for (const { entry, runs } of plans)
    for (const cell of runs(entry.rates[0] ?? fallback).slice(0, 1)) {
      const session = await openGiven(cell.run, cell.source, { given: records.train });
      if (session.trained === undefined)
        throw new UsageError(`${source.where(entry.at)}: ${entry.title} trains nothing.`);
      refuseUnlearnt(examplesOf(session, records).rows, run.data);
    }
  io.begun = true;
  const compute = precisionLine(run);
  if (compute !== undefined) io.err(paint("dim", `compute: ${compute}\n`));
  if (options["force"] === true)
    for (const { entry, trials, runs } of plans)
      for (const cell of [...trials, ...entry.rates.flatMap(runs)]) await forget(cell);

  await announce(bench, plans);
  const rows: Row[] = [];
  for (const plan of plans) {
    rows.push(await rowFor(bench, plan));
    await writeWhole(join(out, "table.md"), markdownOf(rows));
    await writeWhole(join(out, "table.json"), `${JSON.stringify(rows, null, 2)}\n`);
    tellRow(io, rows);
  }
  const words = `${table(cellsOf(rows))}\n×: of "${referenceOf(rows)?.title ?? ""}". Also in ${showFile(join(out, "table.md"))}.`;
  finish(io, { out, rows }, words);
};

/** Options that are lists, as keys of the run file. */
const listsOf = (options: Options): readonly string[] =>
  ["methods", "seeds", "lrs"].flatMap((name) =>
    typeof options[name] === "string" ? [`--compare.${name}=[${options[name]}]`] : [],
  );

/** Says how long it will take, by steps of every method: those of a run of it that is done, or else the first ones. */
async function announce(bench: Bench, plans: readonly Plan[]): Promise<void> {
  const { io } = bench;
  let [ms, left] = [0, 0];
  for (const plan of plans) {
    const trying = plan.trials.some((cell) => !isDone(cell));
    // Until its trials are done nobody knows at which rate a method will run.
    const cells = [...plan.trials, ...plan.runs(trying ? rateOf(plan) : await chosenRate(bench, plan))];
    const open = cells.filter((cell) => !isDone(cell));
    const [cell] = open;
    if (cell === undefined) continue;
    const done = cells.find(isDone);
    const step = done ? (await finishCell(bench, done, { trial: false })).ms_per_step : await stepTime(bench, cell);
    io.err(paint("dim", `${plan.entry.title}: ${step.toFixed(0)} ms a step, ${open.length} runs to do\n`));
    ms += step * open.reduce((sum, c) => sum + lengthOf(bench, c), 0);
    left += open.length;
  }
  if (left === 0) return;
  io.err(`${left} runs will take about ${duration(ms)}. Each is kept as it ends: after a break, call this again.\n`);
}

const rateOf = ({ entry: { rates } }: Plan): number => rates[0] ?? NaN;

/** The learning rate whose trial has the lowest held-out loss; the only one where there is but one. */
async function chosenRate(bench: Bench, plan: Plan): Promise<number> {
  let [best, lowest] = [rateOf(plan), Infinity];
  for (const [i, cell] of plan.trials.entries()) {
    const lr = plan.entry.rates[i] ?? best;
    if (!isDone(cell)) head(bench.io, `${plan.entry.title}, trial at ${lr}`);
    const { summary } = await finishCell(bench, cell, { trial: true });
    const loss = summary.final.eval?.loss ?? Infinity;
    if (loss < lowest) [best, lowest] = [lr, loss];
  }
  return best;
}

/** Trains what a row still lacks. */
async function rowFor(bench: Bench, plan: Plan): Promise<Row> {
  const { title } = plan.entry;
  const lr = await chosenRate(bench, plan);
  const finished: Finished[] = [];
  for (const cell of plan.runs(lr)) {
    if (!isDone(cell)) head(bench.io, `${title}, rate ${lr}, seed ${cell.run.train.seed}`);
    finished.push(await finishCell(bench, cell, { trial: false }));
  }
  return rowOf(title, lr, finished);
}

const head = (io: Io, text: string): void => io.err(`\n${paint("bold", text)}\n`);

/** The last row, each of its figures with its name. */
function tellRow(io: Io, rows: readonly Row[]): void {
  const [names = [], ...lines] = cellsOf(rows);
  const [title = "", ...figures] = lines.at(-1) ?? [];
  const told = figures.map((figure, i) => `${paint("dim", names[i + 1] ?? "")} ${figure}`).join(" · ");
  io.err(`${paint("bold", title)}: ${told}\n`);
}
