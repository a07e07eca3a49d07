/** @file `graft convert`: an adapter in another tool's layout. Its tensors are checked against the model, which needs no weights. */
import { existsSync, readdirSync } from "node:fs";
import { basename, resolve } from "node:path";
import { loadModel } from "@graftml/models";
import { type AdapterFormat, type AnyMethod, type Loaded, type Model, nearest, parseConfig } from "@graftml/peft";
import { formatOf, openFolder, peftFormat, writeFolder } from "@graftml/peft/files";
import { sizeOf } from "@graftml/tensor";
import { parse } from "yaml";
import { UsageError } from "../errors.ts";
import { localAdapter, localModel } from "../hub/local.ts";
import { finish, paint, showFile } from "../io.ts";
import { loadFormats, loadPackage, methodPackages } from "../resolve.ts";
import type { Command, Options } from "../verbs.ts";

export const convertAdapter: Command = async (io, args, options) => {
  if (args.length > 0) throw new UsageError(`graft convert takes options only, not "${args.join(" ")}".`);
  const modelName = needed(options, "model");
  const given = options["adapter"];
  const adapters = Array.isArray(given) ? given.map(String) : [needed(options, "adapter")];
  const out = resolve(needed(options, "out"));
  const packages = methodPackages();
  const formats = [...(await loadFormats(packages)), peftFormat];
  const to = writableFormat(needed(options, "to"), formats);
  checkFree(out, options["force"] === true);

  const labels = options["labels"] === undefined ? null : Number(options["labels"]);
  const task = String(options["task"]);
  const { model } = await loadModel(await localModel(modelName, { weights: false }), { task, labels, init: "random" });
  const methods = (await Promise.all(packages.map(loadPackage))).flat();
  const loaded: Loaded[] = [];
  let from = "";
  for (const [i, adapterName] of adapters.entries()) {
    const folder = await openFolder(await localAdapter(adapterName));
    const format = await formatOf(folder, formats);
    loaded.push(await format.read(folder, model, methods, { id: `adapter-${i}` }));
    from ||= format.name;
  }
  const { adapter, state } = combined(model, loaded, methods, options);
  const name = typeof options["name"] === "string" ? options["name"] : basename(out);
  const files = to.write(adapter, model, state, { name, base: modelName });
  io.begun = true;
  await writeFolder(out, files);

  const numbers = [...state.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const told = adapter.methods.map((method) => method.name);
  finish(
    io,
    { out, from, to: to.name, methods: told, tensors: state.size, numbers, files: Object.keys(files) },
    `${paint("green", "✓", process.stdout)} ${showFile(out)}: ${told.join(" and ")}, ${numbers.toLocaleString("en")} numbers in ${state.size} tensors, from ${from} to ${to.name}`,
  );
};

/** One adapter of several, in the way that their method has. @throws {UsageError} if it has none, or they are of several methods. */
function combined(model: Model, loaded: readonly Loaded[], methods: readonly AnyMethod[], options: Options): Loaded {
  const [first, ...others] = loaded;
  if (first === undefined) throw new UsageError("--adapter is missing. graft convert --help shows an example.");
  if (others.length === 0) {
    if (options["combine"] !== undefined || options["weights"] !== undefined)
      throw new UsageError("--combine and --weights are for several adapters: name each with --adapter.");
    return first;
  }
  const names = [...new Set(loaded.flatMap(({ adapter }) => adapter.methods.map((m) => m.name)))];
  const method = names.length === 1 ? methods.find((m) => m.method.name === names[0]) : undefined;
  const combining = method?.method.combining;
  if (method === undefined || combining === undefined)
    throw new UsageError(
      `adapters of ${names.join(" and ")} cannot be made into one.${names.length > 1 ? " They must be of one method." : ""}`,
    );
  const weights =
    typeof options["weights"] === "string" ? options["weights"].split(",").map(Number) : loaded.map(() => 1);
  if (weights.some((w) => !Number.isFinite(w)) || weights.length !== loaded.length)
    throw new UsageError(
      `--weights: wants ${loaded.length} numbers with commas between; got ${String(options["weights"])}.`,
    );
  const keys: unknown = typeof options["combine"] === "string" ? parse(options["combine"]) : {};
  if (typeof keys !== "object" || keys === null || Array.isArray(keys))
    throw new UsageError(`--combine: wants keys such as '{how: linear}'; got ${String(options["combine"])}.`);
  return combining.combine(method, model, loaded, weights, parseConfig("combine", combining.options, keys));
}

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
