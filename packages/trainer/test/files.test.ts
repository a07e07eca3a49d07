import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StateError } from "@graftml/peft";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkpointFolder, newestCheckpoint, readCheckpoint } from "../src/files.ts";
import { adamw, adamw8bit, causalLm, type Run, train } from "../src/index.ts";
import { ready, rows } from "./toy.ts";

let folder = "";
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "graft-checkpoints-"))));
afterEach(() => rm(folder, { recursive: true }));

async function trained(overrides: Partial<Run>): Promise<readonly number[]> {
  const setting = ready({ dropout: 0.3 });
  const job = { task: causalLm, rows: rows(7), batchSize: 2, steps: 6, lr: 0.02 };
  for await (const event of train({ ...setting, ...job, ...overrides })) expect(event.step).toBeGreaterThan(0);
  const values = await Promise.all(setting.trainable.map(({ name }) => setting.store.read(name)));
  return values.flatMap((v) => [...v]);
}

describe("checkpoints on disk", () => {
  it.each([adamw(), adamw8bit()])("resume to the bits of an uninterrupted run: $name", async (optimizer) => {
    const straight = await trained({ optimizer });
    await trained({ optimizer, saveEvery: 4, checkpoints: checkpointFolder(folder) });
    expect(await trained({ optimizer, resume: await readCheckpoint(join(folder, "step-4")) })).toEqual(straight);
  });

  it("are whole folders named by their step, of which the newest are kept", async () => {
    const checkpoints = checkpointFolder(folder, { keep: 2, beside: ({ step }) => ({ "note/step.txt": `${step}` }) });
    await trained({ saveEvery: 1, checkpoints });
    expect((await readdir(folder)).toSorted()).toEqual(["step-5", "step-6"]);
    expect(await newestCheckpoint(folder)).toBe(join(folder, "step-6"));
    expect((await readdir(join(folder, "step-6"))).toSorted()).toEqual([
      "adapter.safetensors",
      "checkpoint.json",
      "note",
      "optimizer.safetensors",
    ]);
    expect(await readFile(join(folder, "step-6/note/step.txt"), "utf8")).toBe("6");
    const { step, seed, position } = await readCheckpoint(join(folder, "step-6"));
    expect({ step, seed, position }).toEqual({ step: 6, seed: 0, position: { epoch: 1, index: 4 } });
  });

  it("are none in a folder that is not there", async () => {
    expect(await newestCheckpoint(join(folder, "nowhere"))).toBeNull();
  });

  it("are refused when damaged, with the file's name", async () => {
    await trained({ saveEvery: 6, checkpoints: checkpointFolder(folder) });
    const path = join(folder, "step-6");
    const json = await readFile(join(path, "checkpoint.json"), "utf8");
    const broken = async (text: string, message: RegExp): Promise<void> => {
      await writeFile(join(path, "checkpoint.json"), text);
      await expect(readCheckpoint(path)).rejects.toThrow(message);
      await expect(readCheckpoint(path)).rejects.toBeInstanceOf(StateError);
    };
    await broken(json.slice(0, 20), /checkpoint\.json is no JSON/);
    await broken(json.replace('"step": 6', '"step": "six"'), /checkpoint\.json: step: /);
    await writeFile(join(path, "checkpoint.json"), json);
    await truncate(join(path, "optimizer.safetensors"), 300);
    await expect(readCheckpoint(path)).rejects.toThrow(/optimizer\.safetensors/);
    await expect(readCheckpoint(join(folder, "step-7"))).rejects.toThrow(/step-7/);
  });
});
