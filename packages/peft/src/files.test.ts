import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pair } from "../test/tiny-methods.ts";
import { tinyModel } from "../test/tiny-model.ts";
import { adapt } from "./adapt.ts";
import { StateError } from "./errors.ts";
import { fileSource, loadAdapter, saveAdapter, writeFolder } from "./files.ts";
import { nameWithin } from "./state.ts";

const model = tinyModel();
const adapter = adapt(model, [pair()]);
const state = new Map(
  adapter.owned.map(({ name, shape }) => [
    nameWithin(adapter, name),
    { shape, values: new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5) },
  ]),
);
let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "graft-files-"));
});
afterEach(() => rm(root, { recursive: true }));

/** Everything under the root, by relative path. */
const tree = async (): Promise<Record<string, string>> => {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
  return Object.fromEntries(
    await Promise.all(files.map(async (f) => [f.slice(root.length + 1), await readFile(f, "utf8")])),
  );
};

describe("an adapter's folder", () => {
  it("holds what was saved, under another id too", async () => {
    await saveAdapter(join(root, "runs/adapter"), adapter, model, state);
    expect(await readdir(join(root, "runs"), { recursive: true })).toEqual([
      "adapter",
      "adapter/adapter_config.json",
      "adapter/adapter_model.safetensors",
    ]);
    expect((await loadAdapter(join(root, "runs/adapter"), model, [pair], { id: "other" })).state).toEqual(state);
  });

  it("has the same bytes whenever it is written from the same state", async () => {
    await saveAdapter(join(root, "a"), adapter, model, state);
    await saveAdapter(join(root, "b"), adapter, model, new Map([...state].toReversed()));
    const files = await tree();
    expect(files["a/adapter_config.json"]).toBe(files["b/adapter_config.json"]);
    expect(files["a/adapter_model.safetensors"]).toBe(files["b/adapter_model.safetensors"]);
  });

  it("says which of its files is missing or damaged", async () => {
    await expect(loadAdapter(root, model, [pair])).rejects.toThrow(
      `there is no file ${join(root, "adapter_config.json")}.`,
    );
    await saveAdapter(join(root, "a"), adapter, model, state);
    await rm(join(root, "a/adapter_model.safetensors"));
    await expect(loadAdapter(join(root, "a"), model, [pair])).rejects.toThrow("there is no file");
    await writeFile(join(root, "a/adapter_config.json"), '{"peft_type": ');
    await expect(loadAdapter(join(root, "a"), model, [pair])).rejects.toThrow("adapter_config.json is not JSON:");
    await writeFile(join(root, "a/adapter_config.json"), "[]");
    await expect(loadAdapter(join(root, "a"), model, [pair])).rejects.toThrow(
      "adapter_config.json is not a JSON object.",
    );
  });
});

describe("writing a folder", () => {
  const full = async function* () {
    yield new Uint8Array(8);
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };

  it("replaces the old one whole", async () => {
    await writeFolder(join(root, "a"), { old: "1", both: "1" });
    await writeFolder(join(root, "a"), { both: "2", "in/side": Uint8Array.of(51) });
    expect(await tree()).toEqual({ "a/both": "2", "a/in/side": "3" });
  });

  it("leaves the old one and nothing else when the disk is full", async () => {
    await writeFolder(join(root, "a"), { file: "1" });
    const attempt = writeFolder(join(root, "a"), { file: "2", large: full() });
    await expect(attempt).rejects.toThrow(
      `${join(root, "a")} cannot be written: the disk is full. What was there before is untouched.`,
    );
    await expect(attempt).rejects.toThrow(StateError);
    expect(await tree()).toEqual({ "a/file": "1" });
    expect(await readdir(root)).toEqual(["a"]);
  });

  it("leaves nothing where there was nothing", async () => {
    await expect(writeFolder(join(root, "a"), { large: full() })).rejects.toThrow("the disk is full");
    expect(await readdir(root)).toEqual([]);
  });

  it("says why when the place is no folder", async () => {
    await writeFile(join(root, "file"), "");
    await expect(writeFolder(join(root, "file/a"), { x: "1" })).rejects.toThrow(
      /file\/a cannot be written: .*(ENOTDIR|EEXIST)/,
    );
  });
});

describe("a file as a source of bytes", () => {
  it("gives the pieces that are asked for", async () => {
    await writeFile(join(root, "f"), "0123456789");
    const { size, read } = await fileSource(join(root, "f"));
    expect([size, new TextDecoder().decode(await read(3, 4))]).toEqual([10, "3456"]);
  });

  it("does not pretend to have more than the file", async () => {
    await writeFile(join(root, "f"), "0123456789");
    const { read } = await fileSource(join(root, "f"));
    await expect(read(8, 4)).rejects.toThrow("f ends at byte 10; bytes up to 12 were asked for.");
  });
});
