/** @file `graft eval`: loss and the task's figures on held-out data, with and without the adapter. */
import { causalLm, evaluate, type Evaluation } from "@graftml/trainer";
import { encodeRows } from "../data/encode.ts";
import { deviceOf, openRuntime } from "../device.ts";
import { localData } from "../hub/local.ts";
import { needed, openTrained, readGiven } from "../inputs.ts";
import { finish, table, showFile } from "../io.ts";
import { figures, thousands } from "../render.ts";
import { declareSession } from "../session.ts";
import type { Command } from "../verbs.ts";

export const evaluateData: Command = async (io, args, options) => {
  const given = readGiven(args);
  const session = await openTrained(given);
  const { run, loaded, stack } = session;
  const files = needed(run.data.eval, "data.eval", given);
  const rows = await encodeRows(await localData(files, "eval"), run, loaded);
  const { runtime } = await openRuntime(deviceOf(options), run.train.device_memory);
  try {
    const { store } = declareSession(runtime, session);
    const setting = { runtime, store, model: loaded.model, task: causalLm, batchSize: run.train.batch_size };
    const base = await evaluate({ ...setting, adapters: [] }, rows);
    io.begun = true;
    const adapted =
      stack.length === 0 ? undefined : await evaluate({ ...setting, adapters: stack.map((s) => s.adapter) }, rows);
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
