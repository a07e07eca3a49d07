/** @file `graft train`: from a run file to a saved adapter. */
import { join } from "node:path";
import { DeviceError, type MemoryPlan } from "@graftml/tensor";
import { longestOf } from "@graftml/trainer";
import { newestCheckpoint } from "@graftml/trainer/files";
import { refuseUnlearnt } from "../data/encode.ts";
import { deviceOf, type Opened, openRuntime } from "../device.ts";
import { Interrupted, RunFailed, UsageError } from "../errors.ts";
import { needed, openGiven, readGiven } from "../inputs.ts";
import { finish, type Io, paint, showFile, wrap } from "../io.ts";
import { claim, names } from "../outputs.ts";
import { type Data, examplesOf, planWithin, readRecords, trainerRun } from "../plan.ts";
import { precisionLine } from "../precision.ts";
import { bytes, duration, figures, memory, percent, progress, thousands } from "../render.ts";
import { parseRun } from "../run-file.ts";
import { DEFAULT_STEPS } from "../schema.ts";
import { countParameters, type Session } from "../session.ts";
import { taskOf } from "../tasks.ts";
import { runTraining, type Summary } from "../training.ts";
import type { Command, Options } from "../verbs.ts";
import { called } from "../versions.ts";

export const train: Command = async (io, args, options) => {
  const given = readGiven(args);
  const parsed = parseRun(given.source);
  needed(parsed.data.train, "data.train", given);
  const out = needed(parsed.out, "out", given);
  const { train } = parsed;
  const run =
    train.epochs === undefined ? { ...parsed, train: { ...train, steps: train.steps ?? DEFAULT_STEPS } } : parsed;
  const records = await readRecords(run);
  const session = await openGiven(run, given.source, { given: records.train });
  if (session.trained === undefined)
    throw new UsageError(
      `${given.source.where(["methods"])}: nothing is trained: give methods, or an adapter that is not frozen.`,
    );
  const resume = await claim(out, claimOf(options));
  const data = examplesOf(session, records);
  refuseUnlearnt(data.rows, run.data);
  const opened = await openRuntime(deviceOf(options), run.train.device_memory);
  const again = [
    ...args,
    ...(options["device"] === "webgpu" ? [] : ["--device", String(options["device"])]),
    "--resume",
  ];
  const command = [called, "train", ...again.map(quoted)].join(" ");
  try {
    const summary = await trainSession(io, session, data, opened, { out, resume, command });
    finish(io, { ...summary, out }, "");
  } finally {
    opened.runtime.dispose();
  }
};

/** An argument as a shell takes it. */
export const quoted = (arg: string): string =>
  /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", String.raw`'\''`)}'`;

const claimOf = ({ resume, force }: Options): { readonly resume: boolean; readonly force: boolean } => ({
  resume: resume === true,
  force: force === true,
});

/** Where a run goes and how it starts. */
export interface Start {
  readonly out: string;
  readonly resume?: string | undefined;
  /** What a user types to go on after an interruption. */
  readonly command: string;
  /** Whether what is trained has been said already. */
  readonly quiet?: boolean;
}

/**
 * Trains an opened session, showing how it goes.
 * @throws {Interrupted} after Ctrl-C, once a checkpoint is saved.
 * @throws {RunFailed} if the device fails or its memory does not suffice, saying what would help and what is saved.
 */
export async function trainSession(
  io: Io,
  session: Session,
  data: Data,
  opened: Opened,
  { out, resume, command, quiet = false }: Start,
): Promise<Summary> {
  const { trained } = session;
  if (trained === undefined) throw new UsageError("the session has no adapter to train.");
  const run = trainerRun(session, opened, data);
  const planned = planWithin(run, opened);
  if (!quiet) announce(io, session, data, planned, { steps: run.steps, device: opened.runtime.name });
  const shown = progress(io, run.steps);
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
    shown.note("Finishing the step and saving a checkpoint; Ctrl-C again quits at once.");
  };
  process.on("SIGINT", interrupt);
  const began = performance.now();
  try {
    const ending = await runTraining(io, {
      session,
      adapter: trained,
      run,
      planned,
      out,
      answered: data.answered,
      resume,
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === "step") shown.step(event);
        else if (event.type === "eval") shown.note(`step ${event.step}, held out: ${figures(event.eval).join(", ")}`);
      },
    });
    shown.end();
    if (!("summary" in ending))
      throw new Interrupted(
        `interrupted after step ${ending.interrupted} of ${run.steps}; a checkpoint is saved. Go on with: ${command}`,
      );
    const { summary } = ending;
    io.err(
      `${paint("green", "✓")} ${run.steps} steps in ${duration(performance.now() - began)}. Adapter: ${showFile(join(out, names.adapter))} (${bytes(summary.adapter_bytes)})\n`,
    );
    return summary;
  } catch (cause) {
    throw DeviceError.is(cause) && io.begun ? await fallen(cause, out, command) : cause;
  } finally {
    shown.end();
    process.off("SIGINT", interrupt);
  }
}

/** What the device refused in the middle of a run, by the keys that would help, and what is left of the run. */
async function fallen(cause: DeviceError, out: string, command: string): Promise<RunFailed> {
  const saved = await newestCheckpoint(join(out, names.checkpoints));
  const left =
    saved === null
      ? "No checkpoint was due yet (train.save_every)."
      : `${showFile(saved)} is whole. Go on with: ${command}`;
  return new RunFailed(
    `${cause.message}\nIn the run file: train.batch_size with train.accumulate, data.max_length, train.checkpoint_activations, train.offload_activations, weights, train.device_memory.\n${left}`,
    { cause },
  );
}

/** Says, before the first step, what will be trained and what it needs. */
function announce(
  io: Io,
  session: Session,
  { rows, heldOut }: Data,
  plan: MemoryPlan,
  { steps, device }: { readonly steps: number; readonly device: string },
): void {
  const { run, loaded, stack } = session;
  const { trainable, total } = countParameters(session);
  const { batch_size: batch, accumulate } = run.train;
  const methods = stack
    .map(({ adapter }) => {
      const sites = adapter.sites.filter((s) => s.methods.length > 0).length;
      return `${adapter.methods.map((m) => m.name).join(" + ")} on ${sites} sites${adapter.trainable ? "" : " (frozen)"}`;
    })
    .join(", then ");
  const { size } = taskOf(session);
  const longest = longestOf(rows).reduce((n, row) => Math.max(n, size(row).length), 0);
  const lines = [
    ["model", `${showFile(run.model)} · ${loaded.model.info.architecture}`],
    ["trains", `${thousands(trainable)} of ${thousands(total)} parameters (${percent(trainable / total)}): ${methods}`],
    [
      "data",
      `${thousands(rows.length)} rows of up to ${longest} tokens${heldOut.length > 0 ? `, ${thousands(heldOut.length)} held out` : ""}`,
    ],
    [
      "steps",
      `${thousands(steps)} of ${batch * accumulate} rows${accumulate > 1 ? ` (${accumulate} × ${batch})` : ""}`,
    ],
    ["memory", memory(plan)],
    ["device", device],
  ];
  const compute = precisionLine(run);
  if (compute !== undefined) lines.push(["compute", compute]);
  const indent = " ".repeat(LABELS);
  for (const [label = "", text = ""] of lines)
    io.err(`${paint("dim", label.padEnd(LABELS))}${wrap(text, io.width - LABELS - 1, indent)}\n`);
}

/** Columns of the labels of what is announced. */
const LABELS = 8;
