/** @file Files and folders on disk: the one file of this package that needs Node. */
// oxlint-disable no-restricted-imports -- an entry point of its own ("@graftml/peft/files"), which browsers do not load
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Adapter, AdaptOptions } from "./adapt.ts";
import { type AdapterFormat, type FileContent, type Folder, readJson, readTensors } from "./adapter-format.ts";
import { StateError } from "./errors.ts";
import type { NamedValues } from "./interchange.ts";
import type { Model } from "./model.ts";
import { type ByteSource, writeSafetensors } from "./safetensors.ts";
import {
  type AdapterFiles,
  type AnyMethod,
  decodeAdapter,
  type Loaded,
  encodeAdapter,
  type EncodeOptions,
} from "./state.ts";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | null)?.code;

/** Bytes read at once: Node reads at most 2³¹ − 1. */
const PIECE = 2 ** 30;

/**
 * A file as a source of bytes. It is open only while it is read.
 * @throws {StateError} if there is no such file.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const { size } = await stat(path).catch((cause: unknown) => {
    throw new StateError(codeOf(cause) === "ENOENT" ? `there is no file ${path}.` : `${path} cannot be read.`, {
      cause,
    });
  });
  return {
    name: path,
    size,
    read: async (offset, length, bytes = new Uint8Array(length)) => {
      const file = await open(path);
      try {
        for (let done = 0; done < length;) {
          const { bytesRead } = await file.read(bytes, done, Math.min(length - done, PIECE), offset + done);
          if (bytesRead === 0)
            throw new StateError(
              `${path} ends at byte ${offset + done}; bytes up to ${offset + length} were asked for.`,
            );
          done += bytesRead;
        }
      } finally {
        await file.close();
      }
      return bytes;
    },
  };
}

/** Content of a file to be written: text, bytes, or bytes piece by piece. */
export type Content = FileContent;

/**
 * Writes a folder whole or not at all: its files go to a new folder beside it, are flushed to the disk, and the new folder
 * then takes the place of the old one. If anything fails, nothing of it is left and what was there before is untouched. (A
 * crash between the two renames leaves both folders, whole, under their temporary names.)
 * @param files content by name; a name may lead into folders ("optimizer/state.safetensors").
 * @throws {StateError} saying what could not be written: a full disk, missing permission.
 */
export async function writeFolder(path: string, files: Readonly<Record<string, Content>>): Promise<void> {
  const target = resolve(path);
  const beside = (suffix: string): string => join(dirname(target), `.${basename(target)}.${suffix}-${process.pid}`);
  const fresh = beside("new");
  const old = beside("old");
  try {
    await mkdir(dirname(target), { recursive: true });
    await rm(fresh, { recursive: true, force: true });
    await mkdir(fresh);
    for (const [name, content] of Object.entries(files)) await writeFlushed(join(fresh, name), content);
    const replaced = await rename(target, old).then(
      () => true,
      (error: unknown) => {
        if (codeOf(error) === "ENOENT") return false;
        throw error;
      },
    );
    await rename(fresh, target).catch(async (error: unknown) => {
      if (replaced) await rename(old, target);
      throw error;
    });
    await flush(dirname(target));
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined); // the first error is the one to tell
    if (StateError.is(cause)) throw cause;
    const reason =
      codeOf(cause) === "ENOSPC" ? "the disk is full" : cause instanceof Error ? cause.message : String(cause);
    throw new StateError(`${path} cannot be written: ${reason}. What was there before is untouched.`, { cause });
  }
  await rm(old, { recursive: true, force: true });
}

async function writeFlushed(path: string, content: Content): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await flush(dirname(path));
}

/** Flushes a folder's list of names; Windows cannot and need not. */
async function flush(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes an adapter's folder, whole or not at all: `adapter_config.json` and `adapter_model.safetensors`.
 * @param state values by name within the adapter, as `readState` gives them; they are written as f32.
 * @throws {StateError} if the folder cannot be written; what was there before is then untouched.
 */
export async function saveAdapter<Batch>(
  folder: string,
  adapter: Adapter,
  model: Model<Batch>,
  state: NamedValues,
  options?: EncodeOptions,
): Promise<void> {
  await writeFolder(folder, adapterContents(encodeAdapter(adapter, model, state, options)));
}

/** Names and contents of an adapter's two files, for `writeFolder`. */
export function adapterContents({ config, tensors }: AdapterFiles): Readonly<Record<string, Content>> {
  const entries = [...tensors].map(([name, { shape, values, whole = false }]) =>
    whole
      ? ({ name, dtype: "I32", shape, data: () => Int32Array.from(values) } as const)
      : ({ name, dtype: "F32", shape, data: () => Float32Array.from(values) } as const),
  );
  const sorted = Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { [CONFIG]: `${JSON.stringify(sorted, null, 2)}\n`, [TENSORS]: writeSafetensors(entries) };
}

const CONFIG = "adapter_config.json";
const TENSORS = "adapter_model.safetensors";
/** The second is how PEFT saved before 0.7. */
const WEIGHTS = [TENSORS, "adapter_model.bin"];

/**
 * What lies in a folder, or a single file.
 * @throws {StateError} if there is neither.
 */
export async function openFolder(path: string): Promise<Folder> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new StateError(`there is no folder or file ${path}.`, { cause });
  });
  const [at, names] = found.isDirectory() ? [path, await readdir(path)] : [dirname(path), [basename(path)]];
  return { path, names, open: (name) => fileSource(join(at, name)) };
}

/** Hugging Face PEFT's layout, which is ours too. */
export const peftFormat: AdapterFormat = {
  name: "peft",
  recognises: async ({ names }) => names.includes(CONFIG) && names.some((name) => WEIGHTS.includes(name)),
  read: async (folder, model, methods, options) => {
    // What is missing is said by the name that files have today.
    const weights = WEIGHTS.find((name) => folder.names.includes(name)) ?? TENSORS;
    const files = { config: await readJson(folder, CONFIG), tensors: await readTensors(folder, weights) };
    return decodeAdapter(files, model, methods, options);
  },
  write: (adapter, model, state, { base }) => adapterContents(encodeAdapter(adapter, model, state, { base })),
};

/** The first format that recognises a folder, or PEFT's: it says best what is missing. */
export async function formatOf(folder: Folder, formats: readonly AdapterFormat[]): Promise<AdapterFormat> {
  for (const format of formats) if (await format.recognises(folder)) return format;
  return peftFormat;
}

/** How an adapter's folder is read. */
export interface LoadAdapterOptions extends AdaptOptions {
  /** Other tools' formats to recognise; PEFT's always is. */
  readonly formats?: readonly AdapterFormat[] | undefined;
}

/**
 * Reads an adapter's folder, or its only file, and resolves it on a model.
 * @throws {ConfigError} if its method is not among `methods`, or its configuration cannot be.
 * @throws {StateError} if a file is missing or damaged, or does not fit the model.
 */
export async function loadAdapter<Batch>(
  path: string,
  model: Model<Batch>,
  methods: readonly AnyMethod[],
  { formats = [], ...options }: LoadAdapterOptions = {},
): Promise<Loaded> {
  const folder = await openFolder(path);
  return (await formatOf(folder, formats)).read(folder, model, methods, options);
}
