/** @file Where what a run names lies on this machine: a folder or file that is there, or else a copy from the Hub. */
import { existsSync } from "node:fs";
import { basename, dirname, extname } from "node:path";
import { GraftError } from "@graftml/tensor";
import { DESCRIPTIONS as DATA_DESCRIPTIONS } from "../data/classes.ts";
import { HubError, UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import { type HubName, hubName, type Kind, showName } from "./name.ts";
import { type Report, showDownloads } from "./progress.ts";
import type { Select } from "./snapshot.ts";

/** What a name stands for, for messages. */
type Thing = "model" | "adapter" | "data set";

async function fetched(text: string, thing: Thing, select: (repo: HubName) => Select, report: Report) {
  const repo = hubName(text);
  const missing = `there is no ${thing === "data set" ? "data file" : "folder"} ${showFile(text)}`;
  if (repo === undefined) throw new UsageError(`${missing}; a name on the Hub would be org/name.`);
  const kind: Kind = thing === "data set" ? "dataset" : "model";
  // The library is loaded only where something is fetched.
  const [{ openHub }, { snapshot }] = await Promise.all([import("./client.ts"), import("./snapshot.ts")]);
  try {
    return await snapshot(openHub(), { repo, kind, select: select(repo), report });
  } catch (cause) {
    // A name that is neither is explained as both.
    if (GraftError.is(cause)) throw new HubError(`${missing}, and ${cause.message}`, { cause });
    throw cause;
  }
}

/** Files of a model beside its weights. */
const DESCRIPTIONS = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "preprocessor_config.json",
];

/**
 * The folder of a model.
 * @param options.weights whether they are needed; a model that starts from random weights has none.
 * @throws {UsageError | HubError} if it is neither a folder nor on the Hub, or has no weights that can be read.
 */
export async function localModel(
  name: string,
  { weights, report = showDownloads() }: { readonly weights: boolean; readonly report?: Report },
): Promise<string> {
  if (existsSync(name)) return name;
  const select =
    (repo: HubName): Select =>
    (paths) => {
      const found = paths.filter((path) => DESCRIPTIONS.includes(path));
      return weights ? [...found, ...weightsIn(paths, repo)] : found;
    };
  return (await fetched(name, "model", select, report)).folder;
}

function weightsIn(paths: readonly string[], repo: HubName): readonly string[] {
  if (paths.includes("model.safetensors")) return ["model.safetensors"];
  const shards = paths.filter((path) => /^model(\.safetensors\.index\.json|-\d+-of-\d+\.safetensors)$/.test(path));
  if (shards.length > 1) return shards;
  const other = paths.find((path) => /\.(bin|pt|pth|ckpt|h5|msgpack|gguf|safetensors)$/.test(path));
  throw new HubError(
    `${showName(repo)} has no weights that can be read: model.safetensors, or its parts with an index.${other === undefined ? "" : ` It has ${other}.`}`,
  );
}

/** The folder of a saved adapter. @throws {UsageError | HubError} if it is neither a folder nor on the Hub. */
export async function localAdapter(name: string, report: Report = showDownloads()): Promise<string> {
  if (existsSync(name)) return name;
  const files = /^(?:adapter|head|model_head|pytorch_adapter|pytorch_model_head)\w*\.(?:json|safetensors|bin)$/;
  const select = (): Select => (paths) => paths.filter((path) => files.test(path));
  return (await fetched(name, "adapter", select, report)).folder;
}

/** How files and folders of a data set are named after what they are for; the first that match are taken. */
const splits = {
  train: [/train/],
  eval: [/valid|\bval\b|_val\b|\bdev\b/, /test|eval/],
} as const satisfies Readonly<Record<string, readonly RegExp[]>>;

/** What rows are for. */
export type Split = keyof typeof splits;

/** Types of files of a data set, the best first: of several that hold the same one is taken. */
const TYPES = [".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".conllu"];

/**
 * Data files: those that are there, and the files of a split of data sets on the Hub.
 * @throws {UsageError | HubError} naming what is neither, or what a data set has instead.
 */
export async function localData(
  given: string | readonly string[],
  split: Split,
  report: Report = showDownloads(),
): Promise<readonly string[]> {
  const files: string[] = [];
  for (const name of [given].flat()) {
    if (existsSync(name)) files.push(name);
    else {
      const select =
        (repo: HubName): Select =>
        (paths) => [...splitIn(paths, repo, split), ...paths.filter((path) => DATA_DESCRIPTIONS.includes(path))];
      const { files: found } = await fetched(name, "data set", select, report);
      files.push(...found.filter((file) => !DATA_DESCRIPTIONS.includes(basename(file))));
    }
  }
  return files;
}

const typeOf = (path: string): string => extname(path.replace(/\.gz$/, ""));

function splitIn(paths: readonly string[], repo: HubName, split: Split): readonly string[] {
  const { path: inside } = repo;
  if (paths.includes(inside)) return [inside];
  const data = paths.filter((path) => TYPES.includes(typeOf(path)) && (inside === "" || path.startsWith(`${inside}/`)));
  const named = (pattern: RegExp): readonly string[] =>
    data.filter((path) => pattern.test(path.slice(inside.length).toLowerCase()));
  const found: readonly string[] =
    splits[split].map(named).find((some) => some.length > 0) ?? (split === "train" && data.length === 1 ? data : []);
  const type = TYPES.find((t) => found.some((path) => typeOf(path) === t));
  const chosen = found.filter((path) => typeOf(path) === type).sort();
  const folders = [...new Set(chosen.map((path) => dirname(path)))];
  const where = inside === "" ? showName(repo) : `${showName(repo)}/${inside}`;
  if (folders.length > 1)
    throw new HubError(
      `${where} holds several data sets: ${folders.join(", ")}. Name one of them: ${showName(repo)}/${folders[0] ?? ""}.`,
    );
  if (chosen.length > 0) return chosen;
  const there = data.slice(0, 6).map((path) => basename(path));
  throw new HubError(
    `${where} has no file for data.${split}${there.length > 0 ? `; it has ${there.join(", ")}${data.length > 6 ? ", …" : ""}. Name a file: ${showName(repo)}/${data[0] ?? ""}` : `: none of ${TYPES.join(" ")}`}.`,
  );
}
