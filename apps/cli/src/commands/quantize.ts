/** @file `graft quantize`: stores a model's weights in four or eight bits, weight by weight. */
import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { loadModel, saveModel } from "@graftml/models";
import { bitsandbytes, bitsandbytesWriter, quantConfig } from "@graftml/quant";
import { UsageError } from "../errors.ts";
import { checkFree } from "../free-folder.ts";
import { localModel } from "../hub/local.ts";
import { finish, paint, showFile } from "../io.ts";
import type { Command, Options } from "../verbs.ts";

export const quantizeModel: Command = async (io, args, options) => {
  if (args.length > 0) throw new UsageError(`graft quantize takes options only, not "${args.join(" ")}".`);
  const out = resolve(needed(options, "out"));
  const name = needed(options, "model");
  checkFree(out, options["force"] === true);
  const config = quantConfig({
    type: options["type"],
    // Eight bits by rows is what the layout has; the default is meant for four.
    block: options["type"] === "int8" ? null : Number(options["block"]),
    double_quant: options["doubleQuant"] === true,
  });
  const folder = await localModel(name, { weights: true });
  const { model, base, methods } = await loadModel(folder, { task: String(options["task"]), formats: [bitsandbytes] });
  if (methods.length > 0)
    throw new UsageError(`${showFile(name)} is quantized already; start from the model in full precision.`);
  io.begun = true;
  await saveModel(out, model, base, { companions: folder, format: bitsandbytesWriter(config) });
  const [before, after] = [weightBytes(folder), weightBytes(out)];
  finish(
    io,
    { out, ...config, bytes: after, bytes_before: before },
    `${paint("green", "✓", process.stdout)} ${showFile(out)}: ${megabytes(after)} of weights as ${config.type}, ${megabytes(before)} before`,
  );
};

function needed(options: Options, key: string): string {
  const value = options[key];
  if (typeof value === "string") return value;
  throw new UsageError(`--${key} is missing. graft quantize --help shows an example.`);
}

/** Bytes of all weights in a folder. */
const weightBytes = (folder: string): number =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".safetensors"))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB`;
