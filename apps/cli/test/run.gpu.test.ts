/** The command line as a process, on the device. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { graft, project } from "./helpers.ts";

const losses = (folder: string, out: string): readonly number[] =>
  readFileSync(join(folder, out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { readonly loss?: number }).loss ?? 0);

describe("graft on a device", { timeout: 240_000 }, () => {
  it("trains as the interpreter does, resumes to the same bits, merges and writes", async () => {
    const folder = await project();
    const run = async (...args: readonly string[]): Promise<string> => {
      const { status, stdout, stderr } = await graft(folder, args);
      expect(status, stderr).toBe(0);
      return stdout;
    };
    await run("train", "run.yaml", "--train.save_every", "3");
    await run("train", "run.yaml", "--out", "host", "--device", "host");
    losses(folder, "out").forEach((loss, i) => expect(loss).toBeCloseTo(losses(folder, "host")[i] ?? NaN, 4));
    const bits = (): Buffer => readFileSync(join(folder, "out/adapter/adapter_model.safetensors"));
    const straight = bits();
    await graft(folder, ["train", "run.yaml", "--train.save_every", "3", "--resume"]);
    expect(bits()).toEqual(straight);
    const merged = JSON.parse(await run("merge", "run.yaml", "--out", "merged", "--json")) as {
      readonly relative: number;
    };
    expect(merged.relative).toBeLessThan(1e-4);
    const attached = await run("generate", "run.yaml", "--prompt", "the cat", "--max-new-tokens", "8", "--json");
    expect(await run("generate", "--model", "merged", "--prompt", "the cat", "--max-new-tokens", "8", "--json")).toBe(
      attached,
    );
  });

  it("refuses what the memory that it may use does not allow, with what would fit", async () => {
    const folder = await project();
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--train.device_memory", "1kB"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /the run needs [\d.]+ kB: .*\n.* may give 1\.0 kB \(train\.device_memory\)\. Try train\.checkpoint_activations: true \([\d.]+ kB\)/,
    );
  });

  it("finds its adapter healthy", async () => {
    const { status, stdout, stderr } = await graft(await project(), ["doctor", "--json"]);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ matmul: { correct: true } });
  });
});
