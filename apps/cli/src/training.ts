/** @file Running a training run and writing what it leaves in its folder. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { encodeAdapter, nameWithin, readState, type Adapter } from "@graftml/peft";
import { adapterContents, saveAdapter } from "@graftml/peft/files";
import type { MemoryPlan } from "@graftml/tensor";
import { type Checkpoint, type Evaluation, type Rows, train, type TrainEvent } from "@graftml/trainer";
import { checkpointFolder, readCheckpoint } from "@graftml/trainer/files";
import { judgeAnswers } from "./answers.ts";
import type { Row } from "./data/row.ts";
import type { Io } from "./io.ts";
import { median } from "./median.ts";
import { clear, type Lines, names, openMetrics, resolvedYaml, writeWhole } from "./outputs.ts";
import type { Run } from "./schema.ts";
import { countParameters, type Session } from "./session.ts";
import type { AnyRun } from "./tasks.ts";
import { madeWith } from "./versions.ts";

/** What is written to summary.json. */
export interface Summary {
  /** Parameters that were trained, all there are, and the share in percent. */
  readonly trainable: number;
  readonly total: number;
  readonly percent: number;
  readonly adapter_bytes: number;
  /** Bytes on the device by kind. */
  readonly memory: { readonly planned: MemoryPlan; readonly peak: MemoryPlan };
  readonly steps: number;
  readonly tokens_per_second: number;
  /** Median over the steps of a step's ms, and of those that the host spent on it while the device worked. */
  readonly step_ms: number;
  readonly host_ms: number;
  /** Of the last step, and of the last evaluation. */
  readonly final: { readonly loss: number | null; readonly eval: Evaluation | null };
  readonly device: string;
}

/** A run that is about to start. */
export interface Training {
  readonly session: Session;
  readonly adapter: Adapter;
  readonly run: AnyRun;
  readonly planned: MemoryPlan;
  readonly out: string;
  /** Held-out rows whose answers are judged. */
  readonly answered: Rows<Row>;
  /** Checkpoint to go on from. */
  readonly resume: string | undefined;
  readonly signal: AbortSignal;
  readonly onEvent: (event: TrainEvent) => void;
}

/** How a run ended: with a summary, or interrupted at a checkpoint. */
export type Ending = { readonly summary: Summary } | { readonly interrupted: number };

/**
 * Trains and writes the run's files. What lay in the folder before is untouched until the first step is done, or a
 * checkpoint is due.
 */
export async function runTraining(io: Io, training: Training): Promise<Ending> {
  const { session, adapter, planned, out, answered, resume, signal, onEvent } = training;
  const { runtime } = training.run;
  const start: Checkpoint | undefined = resume === undefined ? undefined : await readCheckpoint(resume);
  let metrics: Lines | undefined;
  const begin = async (): Promise<Lines> => {
    if (metrics !== undefined) return metrics;
    io.begun = true;
    if (resume === undefined) await clear(out);
    await writeWhole(join(out, names.run), resolvedYaml(resolvedRun(session), out, madeWith(runtime.name)));
    return (metrics = await openMetrics(join(out, names.metrics), start?.step ?? 0));
  };
  const folder = checkpointFolder(join(out, names.checkpoints), { beside: (c) => peftFiles(session, adapter, c) });
  const run: AnyRun = {
    ...training.run,
    resume: start,
    signal,
    checkpoints: {
      save: async (checkpoint) => {
        await begin();
        return folder.save(checkpoint);
      },
    },
  };

  let peak: MemoryPlan = {};
  let [tokens, loss] = [0, null as number | null];
  const [times, hostTimes]: [number[], number[]] = [[], []];
  let evaluation: Evaluation | null = null;
  let [last, finished] = [start?.step ?? 0, false];
  try {
    for await (const event of train(run)) {
      const lines = await begin();
      peak = largest(peak, runtime.allocated());
      if (event.type === "step") {
        const { step, loss: value, gradNorm, lr } = event;
        lines.add({
          step,
          loss: value,
          grad_norm: gradNorm,
          lr,
          tokens: event.tokens,
          ms: Math.round(event.ms * 100) / 100,
        });
        [tokens, loss] = [tokens + event.tokens, value];
        times.push(event.ms);
        hostTimes.push(event.hostMs);
      } else if (event.type === "eval") {
        evaluation = { ...event.eval, ...(await judgeAnswers(run, session, answered)) };
        lines.add({ step: event.step, eval: evaluation });
      } else finished = event.type === "done";
      last = event.step;
      onEvent(event.type === "eval" && evaluation !== null ? { ...event, eval: evaluation } : event);
      await turn(); // the interpreter never waits, and signals are heard only between turns
    }
  } finally {
    metrics?.close();
  }
  if (!finished) return { interrupted: last };

  const path = join(out, names.adapter);
  await saveAdapter(path, adapter, session.loaded.model, await readState(run.store, adapter), {
    base: session.run.model,
  });
  const { trainable, total } = countParameters(session);
  const ms = times.reduce((sum, time) => sum + time, 0);
  const summary: Summary = {
    trainable,
    total,
    percent: (trainable / total) * 100,
    adapter_bytes: await bytesIn(path),
    memory: { planned, peak },
    steps: last,
    tokens_per_second: ms > 0 ? (tokens / ms) * 1000 : 0,
    step_ms: median(times),
    host_ms: median(hostTimes),
    final: { loss, eval: evaluation },
    device: runtime.name,
  };
  await writeWhole(join(out, names.summary), `${JSON.stringify(summary, null, 2)}\n`);
  return { summary };
}

/** The run with its methods' defaults written out. */
function resolvedRun({ run, stack }: Session): Run {
  const configured = stack.find(({ state }) => state === undefined)?.adapter.methods ?? [];
  // A configuration is an object; a method that was named by path keeps its path.
  const methods = run.methods.map((given, i) => ({ ...(configured[i]?.config as object | undefined), ...given }));
  return { ...run, methods };
}

/** The adapter of a checkpoint as PEFT's files, so that it can be used like a finished one. */
function peftFiles({ loaded, run }: Session, adapter: Adapter, checkpoint: Checkpoint) {
  const owned = new Map(adapter.owned.map((o) => [o.name, o]));
  const state = new Map(
    [...checkpoint.adapter].flatMap(([name, value]) =>
      owned.get(name)?.persist === true ? [[nameWithin(adapter, name), value] as const] : [],
    ),
  );
  const files = adapterContents(encodeAdapter(adapter, loaded.model, state, { base: run.model }));
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [`adapter/${name}`, content]));
}

const largest = (a: MemoryPlan, b: MemoryPlan): MemoryPlan =>
  Object.fromEntries(
    [...new Set([...Object.keys(a), ...Object.keys(b)])].map((kind) => [kind, Math.max(a[kind] ?? 0, b[kind] ?? 0)]),
  );

/** Bytes of the files in a folder. */
async function bytesIn(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}
