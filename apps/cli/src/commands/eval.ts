/** @file `graft eval`: loss and the task's figures on held-out data, with and without the adapter. */
import { evaluate, type Evaluation } from "@graftml/trainer";
import { judgeAnswers } from "../answers.ts";
import { deviceOf, openRuntime } from "../device.ts";
import { needed, openTrained, readGiven } from "../inputs.ts";
import { finish, table, showFile } from "../io.ts";
import { examplesOf, readRecords } from "../plan.ts";
import { precisionOf } from "../precision.ts";
import { figures, thousands } from "../render.ts";
import { parseRun } from "../run-file.ts";
import { declareSession, type Placed } from "../session.ts";
import { taskOf } from "../tasks.ts";
import type { Command } from "../verbs.ts";

export const evaluateData: Command = async (io, args, options) => {
  const given = readGiven(args);
  const files = needed(parseRun(given.source).data.eval, "data.eval", given);
  const records = await readRecords(parseRun(given.source), ["eval"]);
  const session = await openTrained(given, { given: records.eval });
  const { run, loaded, stack } = session;
  const { heldOut: rows } = examplesOf(session, records);
  const { runtime } = await openRuntime(deviceOf(options), run.train.device_memory);
  try {
    const { store } = declareSession(runtime, session);
    const { batch_size: batchSize } = run.train;
    const setting = {
      runtime,
      store,
      model: loaded.model,
      task: taskOf(session),
      batchSize,
      precision: precisionOf(run),
    };
    const judged = async (placed: readonly Placed[]): Promise<Evaluation> => ({
      ...(await evaluate({ ...setting, adapters: placed.map((s) => s.adapter) }, rows)),
      ...(await judgeAnswers({ runtime, store }, { ...session, stack: placed }, records.eval)),
    });
    // What a quantized folder holds is the base, and is never there in full.
    const bare = loaded.methods.length > 0 ? stack.slice(0, 1) : [];
    const base = await judged(bare);
    io.begun = true;
    const adapted = stack.length === bare.length ? undefined : await judged(stack);
    const line = (name: string, evaluation: Evaluation): readonly string[] => [name, ...figures(evaluation)];
    const shown = [files]
      .flat()
      .map((file) => showFile(file))
      .join(", ");
    finish(
      io,
      { rows: rows.length, base, ...(adapted && { adapted }) },
      `${shown}: ${thousands(rows.length)} rows\n${table([line("base", base), ...(adapted ? [line("with adapter", adapted)] : [])])}`,
    );
  } finally {
    runtime.dispose();
  }
};
