/** @file A model from a folder in Hugging Face layout. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Adapted,
  type Base,
  type CheckpointFormat,
  type CheckpointWriter,
  type JsonObject,
  type Model,
  openSafetensors,
  openShards,
  StateError,
  type TensorFile,
} from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import { checkpointBase } from "./checkpoint.ts";
import type { Family } from "./family.ts";
import { type Preparation, readPreparation } from "./image.ts";
import { randomBase } from "./random.ts";
import { families, familyOf } from "./registry.ts";
import { type Storage, storedAs } from "./storage.ts";
import { type TextTokenizer, textTokenizer } from "./tokenizer.ts";

export interface LoadOptions {
  /** What the model is for, by the names of run files; default "causal-lm". */
  readonly task?: string;
  /** Outputs of a head that does not predict tokens, or their names; default: those of config.json. */
  readonly labels?: number | readonly string[] | null;
  /** Whether a text may have several of the labels; default: as config.json says. */
  readonly multiLabel?: boolean | null;
  /** Storage of frozen weights; default "auto". */
  readonly weights?: Storage;
  /** The model's own dropouts while training: "config" for those of config.json, or one rate for all; default 0. */
  readonly dropout?: number | "config";
  /**
   * Where weights come from: the folder, or config.json's rules for random ones; default "pretrained". "described": of
   * those that the folder lacks only shapes and types are known, as config.json has them; enough to plan a run.
   */
  readonly init?: "pretrained" | "random" | "described";
  /** Seed of random weights, a head's that the folder lacks among them; default 0. */
  readonly seed?: number;
  /** Ways of storing weights that checkpoints may have besides plain numbers; default: none. */
  readonly formats?: readonly CheckpointFormat[];
  /** Families to choose from, a third party's among them; default: this package's. */
  readonly families?: readonly Family[];
}

/** What a folder holds. */
export interface LoadedModel {
  readonly model: Model;
  /** Its weights; they are read when a store needs them. */
  readonly base: Base;
  /** Methods to stand innermost: those that use weights in the form in which the checkpoint stores them. */
  readonly methods: readonly Adapted[];
  /** How weights are written in that form; null where the checkpoint has plain numbers. */
  readonly writer: (() => CheckpointWriter) | null;
  /** Parameters that start from random values, drawn from the seed: a head, or a pooler, that no file holds; or all of them. */
  readonly drawn: readonly string[];
  /** Null if the folder has no tokenizer.json. */
  readonly tokenizer: TextTokenizer | null;
  /** Ids that end a text, as generation_config.json, config.json or the tokenizer say. */
  readonly eos: readonly number[];
}

/**
 * Opens the model in a folder: reads config.json, the headers of its safetensors files and its tokenizer.
 *
 * @throws {StateError} saying what is missing, damaged, unknown or does not fit.
 * @example
 * const { model, base, tokenizer } = await loadModel("models/stories260K");
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { task = "causal-lm", labels = null, multiLabel = null, weights = "auto", dropout = 0 } = options;
  const { init = "pretrained", seed = 0, families: known = families } = options;
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new StateError(`there is no folder ${folder}.`, { cause });
  });
  const file = join(folder, "config.json");
  const { format, settings, config } = storageOf(await readJson(file), options.formats ?? [], file);
  const family = familyOf(config, known, file);
  const described = init === "described" && format === undefined && !names.some(isWeights);
  const stored = init === "random" || described ? null : await openWeights(folder, names);
  const settled = stored === null ? config : ((await family.settle?.(config, stored, file)) ?? config);
  const model = family.build(settled, { task, labels, multiLabel, dropout, file });
  const opened = stored === null ? undefined : await format?.open(stored, settings, model);
  const fresh = randomBase(model, family, seed);
  const { base, drawn } =
    stored === null
      ? { base: described ? shapesOf(fresh, config) : fresh, drawn: described ? [] : [...fresh.names()] }
      : await checkpointBase(model, family, opened?.file ?? stored, fresh);
  const tokenizer = await loadTokenizer(folder);
  const generation = names.includes("generation_config.json")
    ? await readJson(join(folder, "generation_config.json"))
    : {};
  const eos = generation["eos_token_id"] ?? config["eos_token_id"] ?? tokenizer?.eos ?? [];
  return {
    model,
    base: { ...storedAs(base, weights), ...(tokenizer && { encode: (text: string) => tokenizer.encode(text) }) },
    methods: opened?.methods ?? [],
    writer: opened?.writer ?? null,
    drawn,
    tokenizer,
    eos: (Array.isArray(eos) ? eos : [eos]).filter((id) => typeof id === "number"),
  };
}

/** How the weights are stored, and the configuration without it: a format's models are plain ones to their families. */
function storageOf(
  given: JsonObject,
  formats: readonly CheckpointFormat[],
  file: string,
): { readonly format: CheckpointFormat | undefined; readonly settings: JsonObject; readonly config: JsonObject } {
  const { quantization_config: settings, ...config } = given;
  if (typeof settings !== "object" || settings === null) return { format: undefined, settings: {}, config: given };
  const { quant_method: method } = settings as JsonObject; // a JSON value that is an object
  const format = formats.find((f) => f.name === method);
  if (format !== undefined) return { format, settings: settings as JsonObject, config };
  throw new StateError(
    `${file}: its weights are quantized by ${JSON.stringify(method)}; ${formats.length === 0 ? "no package that reads such weights is in use" : `known are ${formats.map((f) => `"${f.name}"`).join(", ")}`}.`,
  );
}

/** The tokenizer of a folder, or null if there is none. @throws {StateError} if it is damaged. */
export async function loadTokenizer(folder: string): Promise<TextTokenizer | null> {
  const names = await readdir(folder);
  if (!names.includes("tokenizer.json")) return null;
  const file = join(folder, "tokenizer.json");
  const config = names.includes("tokenizer_config.json") ? await readJson(join(folder, "tokenizer_config.json")) : {};
  const template = names.includes("chat_template.jinja")
    ? await readFile(join(folder, "chat_template.jinja"), "utf8")
    : undefined;
  return textTokenizer(await readJson(file), config, file, template);
}

/**
 * How the model in a folder wants its images, or null if the folder does not say.
 * @throws {StateError} naming the key of what is wrong or not supported.
 */
export async function loadPreparation(folder: string): Promise<Preparation | null> {
  const name = "preprocessor_config.json";
  const file = join(folder, name);
  return (await readdir(folder)).includes(name) ? readPreparation(await readJson(file), file) : null;
}

/** The file of weights, or the index of those that are in several. */
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const isWeights = (name: string): boolean => name === WEIGHTS || name === INDEX;

/** The shapes of weights, in the type that a configuration says they are stored in. */
const shapesOf = (base: Base, { dtype, torch_dtype: type = dtype }: JsonObject): Base => ({
  ...storedAs(base, type === "float16" ? "f16" : "f32"),
  read: async (name) => {
    throw new StateError(`${name} cannot be read: the model's folder has no weights.`);
  },
});

async function openWeights(folder: string, names: readonly string[]): Promise<TensorFile> {
  const open = (name: string) => fileSource(join(folder, name));
  if (names.includes(WEIGHTS)) return openSafetensors(await open(WEIGHTS));
  if (names.includes(INDEX)) return openShards(await readJson(join(folder, INDEX)), join(folder, INDEX), open);
  const other = names.find((name) => /\.(bin|pt|pth|ckpt|h5|msgpack|gguf)$/.test(name));
  const hint =
    other === undefined
      ? ""
      : ` ${other} is of a format that cannot be read: save the model with transformers (save_pretrained).`;
  throw new StateError(`${folder} has no weights: ${WEIGHTS} or ${INDEX} is expected.${hint}`);
}

/** A JSON object in a file. @throws {StateError} if the file is missing or holds anything else. */
async function readJson(path: string): Promise<JsonObject> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new StateError(`${path} cannot be read.`, { cause });
  });
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject; // just checked
  } catch (cause) {
    throw new StateError(`${path} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}.`, { cause });
  }
  throw new StateError(`${path} must hold a JSON object.`);
}
