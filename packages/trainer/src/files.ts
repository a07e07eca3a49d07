/** @file Checkpoints on disk: the one file of this package that needs Node. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type NamedValues,
  openSafetensors,
  type ShapedValues,
  StateError,
  type TensorToWrite,
  writeSafetensors,
} from "@graftml/peft";
import { type Content, fileSource, writeFolder } from "@graftml/peft/files";
import { z } from "zod";
import type { Checkpoint, Checkpoints } from "./checkpoint.ts";

/** Version of the layout below. */
const VERSION = 2;

const schema = z.strictObject({
  version: z.literal(VERSION),
  step: z.int().min(0),
  seed: z.int().min(0),
  position: z.strictObject({ epoch: z.int().min(0), index: z.int().min(0) }),
  run: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  changed: z.strictObject({ restarted: z.int().min(0), lrScale: z.record(z.string(), z.number()) }),
});

const [STATE, ADAPTER, OPTIMIZER] = ["checkpoint.json", "adapter.safetensors", "optimizer.safetensors"] as const;

const folderOf = (step: number): string => `step-${step}`;

export interface FolderOptions {
  /** How many to keep; older ones are deleted once a newer one is whole. All of them if absent. */
  readonly keep?: number;
  /** Further files of a checkpoint, by name: the adapter in the format of others. */
  readonly beside?: (checkpoint: Checkpoint) => Readonly<Record<string, Content>>;
}

/**
 * Keeps checkpoints as folders `step-N`, each written whole or not at all: `checkpoint.json`, and the values of the adapter
 * and the optimizer as safetensors.
 */
export function checkpointFolder(folder: string, { keep = Infinity, beside }: FolderOptions = {}): Checkpoints {
  return {
    save: async (checkpoint) => {
      const { adapter, optimizer, ...state } = checkpoint;
      const path = join(folder, folderOf(state.step));
      await writeFolder(path, {
        [STATE]: `${JSON.stringify({ version: VERSION, ...state }, null, 2)}\n`,
        [ADAPTER]: writeSafetensors(toWrite(adapter)),
        [OPTIMIZER]: writeSafetensors(toWrite(optimizer)),
        ...beside?.(checkpoint),
      });
      const steps = await stepsOf(folder);
      for (const old of steps.slice(0, Math.max(0, steps.length - keep)))
        await rm(join(folder, folderOf(old)), { recursive: true, force: true });
      return path;
    },
  };
}

const toWrite = (state: NamedValues): TensorToWrite[] =>
  [...state].map(([name, { shape, values, whole = false }]) =>
    whole
      ? { name, shape, dtype: "U32", data: () => Uint32Array.from(values) }
      : {
          name,
          shape,
          dtype: values instanceof Float32Array ? "F32" : "F64",
          data: () => values as typeof values & { readonly buffer: ArrayBuffer }, // values read back are in memory of their own
        },
  );

/** Steps of the checkpoints in a folder, in order. */
async function stepsOf(folder: string): Promise<readonly number[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Path of the newest checkpoint in a folder, or null. */
export async function newestCheckpoint(folder: string): Promise<string | null> {
  const newest = (await stepsOf(folder)).at(-1);
  return newest === undefined ? null : join(folder, folderOf(newest));
}

/**
 * Reads a checkpoint.
 * @throws {StateError} if a file is missing, truncated or not what it should be.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const file = join(path, STATE);
  const source = await fileSource(file);
  const text = new TextDecoder().decode(await source.read(0, source.size));
  const { version: _, ...state } = parse(file, text);
  return {
    ...state,
    adapter: await readValues(join(path, ADAPTER)),
    optimizer: await readValues(join(path, OPTIMIZER)),
  };
}

function parse(file: string, text: string): z.output<typeof schema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new StateError(`${file} is no JSON: the checkpoint is damaged. Take an older one.`, { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new StateError(`${file}: ${issue?.path.join(".")}: ${issue?.message}. Was it written by another version?`);
}

async function readValues(path: string): Promise<NamedValues> {
  const file = await openSafetensors(await fileSource(path));
  const state = new Map<string, ShapedValues>();
  for (const [name, { shape }] of file.tensors) {
    const values = await file.read(name);
    if (values instanceof Uint32Array) state.set(name, { shape, values: Float64Array.from(values), whole: true });
    else if (values instanceof Float32Array || values instanceof Float64Array) state.set(name, { shape, values });
    else throw new StateError(`${path}: ${name} is none of F32, F64 and U32: this is no checkpoint of Graft's.`);
  }
  return state;
}
