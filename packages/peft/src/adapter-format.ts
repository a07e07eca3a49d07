/** @file Formats: how other tools lay an adapter out in files. */
import type { Source, Values } from "@graftml/tensor";
import type { AdaptOptions, Adapter } from "./adapt.ts";
import { StateError } from "./errors.ts";
import { widenHalf } from "./half.ts";
import type { JsonObject, NamedValues, ShapedValues } from "./interchange.ts";
import type { Model } from "./model.ts";
import type { ByteSource } from "./safetensors.ts";
import type { AnyMethod, Loaded } from "./state.ts";
import { openSafetensors } from "./tensor-file.ts";
import { openTorch } from "./torch-file.ts";

/** What an adapter is read from: a folder, or a single file. */
export interface Folder {
  /** For messages. */
  readonly path: string;
  /** Names of its files; of a single file, its own. */
  readonly names: readonly string[];
  open(name: string): Promise<ByteSource>;
}

/** Content of a file that a format writes. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array>;

/** What a format's files say beside the adapter. */
export interface WriteOptions {
  /** The adapter's name, where files hold one. */
  readonly name: string;
  /** Folder or Hub id of the base. */
  readonly base: string | null;
}

/** Another tool's layout of adapters. Packages declare those they carry, as they do methods: `"graft": { "formats": […] }`. */
export interface AdapterFormat {
  /** As the command line calls it: "adapterhub". */
  readonly name: string;
  /** Whether this is such a folder or file; it looks at names first, and into files only where those do not tell. */
  recognises(folder: Folder): Promise<boolean>;
  /**
   * The adapter, resolved on a model.
   * @param methods those to choose from.
   * @throws {ConfigError} if it asks for what they cannot do.
   * @throws {StateError} listing what is missing, unexpected or of the wrong shape.
   */
  read<Batch>(
    folder: Folder,
    model: Model<Batch>,
    methods: readonly AnyMethod[],
    options?: AdaptOptions,
  ): Promise<Loaded>;
  /**
   * Its files; absent where a format is only read.
   * @throws {ConfigError} if the format has no place for what the adapter is.
   */
  write?<Batch>(
    adapter: Adapter,
    model: Model<Batch>,
    state: NamedValues,
    options: WriteOptions,
  ): Readonly<Record<string, FileContent>>;
}

/** A JSON object in a file of a folder. @throws {StateError} if it holds anything else. */
export async function readJson(folder: Folder, name: string): Promise<JsonObject> {
  const source = await folder.open(name);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(await source.read(0, source.size)));
  } catch (cause) {
    throw new StateError(`${source.name} is not JSON: ${cause instanceof Error ? cause.message : ""}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new StateError(`${source.name} is not a JSON object.`);
  return value as JsonObject; // just checked
}

/** Every tensor of a safetensors file, or of one that torch pickled, as numbers. @throws {StateError} if it is damaged. */
export async function readTensors(folder: Folder, name: string): Promise<NamedValues> {
  const source = await folder.open(name);
  const file = await (name.endsWith(".safetensors") ? openSafetensors(source) : openTorch(source));
  const tensors = new Map<string, ShapedValues>();
  for (const [tensor, { shape }] of file.tensors) {
    const values = await file.read(tensor);
    tensors.set(tensor, { shape, values: inNumbers(values) });
  }
  return tensors;
}

/** Values as numbers: whole ones may need more digits than f32 has. */
const inNumbers = (values: Source): Values =>
  values instanceof Uint16Array
    ? widenHalf(values)
    : values instanceof Int32Array || values instanceof Uint32Array
      ? Float64Array.from(values)
      : Float32Array.from(values);
