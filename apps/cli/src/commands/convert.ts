/** @file `graft convert`: an adapter in another tool's layout. Its tensors are checked against the model, which needs no weights. */
import { existsSync, readdirSync } from "node:fs";
import { basename, resolve } from "node:path";
import { loadModel } from "@graftml/models";
import { type AdapterFormat, nearest } from "@graftml/peft";
import { formatOf, openFolder, peftFormat, writeFolder } from "@graftml/peft/files";
import { sizeOf } from "@graftml/tensor";
import { UsageError } from "../errors.ts";
import { localAdapter, localModel } from "../hub/local.ts";
import { finish, paint, showFile } from "../io.ts";
import { loadFormats, loadPackage, methodPackages } from "../resolve.ts";
import type { Command, Options } from "../verbs.ts";

export const convertAdapter: Command = async (io, args, options) => {
  if (args.length > 0) throw new UsageError(`graft convert takes options only, not "${args.join(" ")}".`);
  const [modelName, adapterName] = [needed(options, "model"), needed(options, "adapter")];
  const out = resolve(needed(options, "out"));
  const packages = methodPackages();
  const formats = [...(await loadFormats(packages)), peftFormat];
  const to = writableFormat(needed(options, "to"), formats);
  checkFree(out, options["force"] === true);

  const labels = options["labels"] === undefined ? null : Number(options["labels"]);
  const task = String(options["task"]);
  const { model } = await loadModel(await localModel(modelName, { weights: false }), { task, labels, init: "random" });
  const methods = (await Promise.all(packages.map(loadPackage))).flat();
  const folder = await openFolder(await localAdapter(adapterName));
  const from = await formatOf(folder, formats);
  const { adapter, state } = await from.read(folder, model, methods, {});
  const name = typeof options["name"] === "string" ? options["name"] : basename(out);
  const files = to.write(adapter, model, state, { name, base: modelName });
  io.begun = true;
  await writeFolder(out, files);

  const numbers = [...state.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const told = adapter.methods.map((method) => method.name);
  finish(
    io,
    { out, from: from.name, to: to.name, methods: told, tensors: state.size, numbers, files: Object.keys(files) },
    `${paint("green", "✓", process.stdout)} ${showFile(out)}: ${told.join(" and ")}, ${numbers.toLocaleString("en")} numbers in ${state.size} tensors, from ${from.name} to ${to.name}`,
  );
};

/** @throws {UsageError} if there is no such format, or it is only read. */
function writableFormat(
  name: string,
  formats: readonly AdapterFormat[],
): AdapterFormat & Required<Pick<AdapterFormat, "write">> {
  const { write, ...format } = formats.find((f) => f.name === name) ?? { name: "", write: undefined };
  if (write !== undefined && "read" in format) return { ...format, write };
  const names = formats.flatMap((f) => (f.write === undefined ? [] : [f.name]));
  const near = nearest(name, names);
  throw new UsageError(
    `--to ${name}: ${format.name === name ? "this format is only read" : "there is no such format"}. ${near === undefined ? `Adapters are written as ${names.join(", ")}.` : `Did you mean "${near}"?`}`,
  );
}

function needed(options: Options, key: string): string {
  const value = options[key];
  if (typeof value === "string") return value;
  throw new UsageError(`--${key} is missing. graft convert --help shows an example.`);
}

/** Only an empty folder, or an adapter if told so, is written over. */
function checkFree(out: string, force: boolean): void {
  const names = existsSync(out) ? readdirSync(out) : [];
  if (names.length === 0 || (force && names.includes("adapter_config.json"))) return;
  throw new UsageError(
    names.includes("adapter_config.json")
      ? `${showFile(out)} holds an adapter already. Choose another --out, or replace it with --force.`
      : `${showFile(out)} is not empty and holds no adapter. Choose another --out.`,
  );
}
