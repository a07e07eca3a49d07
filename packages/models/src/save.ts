/** @file A model to a folder in Hugging Face layout. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Base,
  type CheckpointWriter,
  type Model,
  sites,
  StateError,
  type TensorToWrite,
  widthOf,
  writeSafetensors,
} from "@graftml/peft";
import { type Content, writeFolder } from "@graftml/peft/files";
import { sizeOf } from "@graftml/tensor";
import { layoutOf, type Stored, transposed } from "./layout.ts";

const CONFIG = "config.json";

/** Files that belong to a model and are copied as they are. */
const COMPANIONS = [
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "special_tokens_map.json",
  "added_tokens.json",
  "preprocessor_config.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
];

export interface SaveOptions {
  /** A folder whose tokenizer and generation settings go along, and whose config.json says how numbers are written. */
  readonly companions?: string;
  /** Stores parameters in a form of its own. */
  readonly format?: CheckpointWriter;
  /** Bytes from which weights are split into several files; default 5 GB. */
  readonly shardBytes?: number;
}

/**
 * Writes a model as transformers does, whole or not at all: config.json, its weights in safetensors and, from another
 * folder, its tokenizer. A tied weight is written once. Types are those of the base.
 *
 * @throws {StateError} if the base lacks a parameter, or saying what could not be written.
 */
export async function saveModel(
  folder: string,
  model: Model,
  base: Base,
  { companions, format, shardBytes = 5e9 }: SaveOptions = {},
): Promise<void> {
  const parameters = new Map(sites(model).flatMap((s) => (s.kind === "param" ? [[s.path, s] as const] : [])));
  const formed = async (name: string): Promise<readonly TensorToWrite[] | null> => {
    const parameter = parameters.get(name);
    return (parameter && (await format?.tensors(parameter, base))) ?? null;
  };
  const plain = ({ name, fileShape, ...layout }: Stored): TensorToWrite => {
    const known = base.describe(name);
    if (known === undefined) throw new StateError(`${folder} cannot be written: the base has no parameter ${name}.`);
    const dtype = known.dtype === "f16" ? "F16" : "F32";
    return {
      name,
      dtype,
      shape: fileShape,
      data: async () => {
        const values = await base.read(name);
        const exact =
          values instanceof Uint16Array || values instanceof Float32Array ? values : Float32Array.from(values);
        // A base may be backed by memory that is shared between threads; a file's bytes are not.
        return (layout.transposed ? transposed(exact, layout.shape) : exact) as ArrayBufferView<ArrayBuffer>;
      },
    };
  };
  const tensors: TensorToWrite[] = [];
  for (const stored of layoutOf(model).values()) tensors.push(...((await formed(stored.name)) ?? [plain(stored)]));
  const half = tensors.every((t) => t.dtype === "F16");
  const { torch_dtype: _, dtype: __, ...config } = model.info.config;
  const described = { ...config, architectures: [model.info.architecture], dtype: half ? "float16" : "float32" };
  const storage = format === undefined ? {} : { quantization_config: format.settings };
  const { [CONFIG]: given = "", ...others } = companions === undefined ? {} : await companionsOf(companions);
  await writeFolder(folder, {
    ...weightFiles(tensors, shardBytes),
    ...others,
    [CONFIG]: configText({ ...described, ...storage }, given.toString()),
  });
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/**
 * Text of a config.json. Whole numbers that the other text has as floats, `1.0`, stay so: transformers insists on the types
 * of keys, and JavaScript tells no such numbers apart.
 */
function configText(config: unknown, like: string): string {
  const floats = new Set([...like.matchAll(/"([^"]+)":\s*-?\d+\.0+\s*[,}\]]/g)].map(([, key]) => key));
  return json(config).replaceAll(/"([^"]+)": -?\d+(?=[,\n])/g, (entry, key: string) =>
    floats.has(key) ? `${entry}.0` : entry,
  );
}

/** One file, or numbered ones with an index of who is where. */
function weightFiles(tensors: readonly TensorToWrite[], shardBytes: number): Readonly<Record<string, Content>> {
  const bytesOf = (t: TensorToWrite): number => sizeOf(t.shape) * widthOf(t.dtype);
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    if (bytesOf(tensor) > room) {
      shards.push([]);
      room = shardBytes;
    }
    shards.at(-1)?.push(tensor);
    room -= bytesOf(tensor);
  }
  if (shards.length === 1) return { "model.safetensors": writeSafetensors(tensors) };
  const digits = (n: number): string => String(n).padStart(5, "0");
  const fileOf = (i: number): string => `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
  const total = tensors.reduce((n, t) => n + bytesOf(t), 0);
  const map = Object.fromEntries(shards.flatMap((shard, i) => shard.map((t) => [t.name, fileOf(i)])));
  return {
    ...Object.fromEntries(shards.map((shard, i) => [fileOf(i), writeSafetensors(shard)])),
    "model.safetensors.index.json": json({ metadata: { total_size: total }, weight_map: map }),
  };
}

/** What a folder has of these files, and its config.json. */
async function companionsOf(folder: string): Promise<Readonly<Record<string, Buffer>>> {
  const names = (await readdir(folder)).filter((name) => name === CONFIG || COMPANIONS.includes(name));
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  );
}
