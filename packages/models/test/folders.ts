/** @file Folders for tests, made from the golden ones. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "@graftml/peft";
import { type Content, fileSource, writeFolder } from "@graftml/peft/files";
import { onTestFinished } from "vitest";
import { folderOf } from "./golden.ts";

/** A tensor as it lies in a file. */
export type FileTensor = Pick<TensorToWrite, "dtype" | "shape"> & { readonly data: Uint8Array<ArrayBuffer> };

/** The tensors of a golden model's file, or of one that lies elsewhere. */
export async function tensorsOf(name: string, folder = folderOf(name)): Promise<Map<string, FileTensor>> {
  const file = await openSafetensors(await fileSource(join(folder, "model.safetensors")));
  const entries = [...file.tensors].map(
    async ([key, { dtype, shape }]) => [key, { dtype, shape, data: await file.bytes(key) }] as const,
  );
  return new Map(await Promise.all(entries));
}

/** A file's content from its tensors. */
export const fileFrom = (tensors: ReadonlyMap<string, FileTensor>): Content =>
  writeSafetensors([...tensors].map(([key, t]) => ({ name: key, dtype: t.dtype, shape: t.shape, data: () => t.data })));

/** An empty folder that goes when the test is done. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "graft-models-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "model");
}

/** A copy of a golden folder, with changes to its configuration, its tensors and its files (null: left out). */
export async function changed(
  name: string,
  change: {
    readonly config?: Readonly<Record<string, unknown>>;
    readonly tensors?: (tensors: Map<string, FileTensor>) => void;
    readonly files?: Readonly<Record<string, Content | null>>;
  },
): Promise<string> {
  const config = {
    ...(JSON.parse(readFileSync(join(folderOf(name), "config.json"), "utf8")) as object),
    ...change.config,
  };
  const tensors = await tensorsOf(name);
  change.tensors?.(tensors);
  const all = { "config.json": JSON.stringify(config), "model.safetensors": fileFrom(tensors), ...change.files };
  const folder = emptyFolder();
  await writeFolder(
    folder,
    Object.fromEntries(Object.entries(all).flatMap(([key, content]) => (content === null ? [] : [[key, content]]))),
  );
  return folder;
}
