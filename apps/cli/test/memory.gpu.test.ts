import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { graft, project, withFiles } from "./helpers.ts";

const rows = (texts: readonly (readonly [string, string])[]): string =>
  texts.map(([prompt, completion]) => `${JSON.stringify({ prompt, completion })}\n`).join("");

it("a run that reaches its device_memory says what to change, and goes on from its last checkpoint with more", async () => {
  const folder = withFiles(
    {
      "pairs.jsonl": rows([
        ["an", "ape"],
        ["the", "cat"],
        ["dogs", "bark"],
      ]),
      "held.jsonl": rows([
        ["a", "gnu"],
        ["hot", "hat"],
      ]),
    },
    await project(),
  );
  const data = ["--data.train", "pairs.jsonl", "--data.eval", "held.jsonl", "--data.max_length", "28"];
  const train = (...args: readonly string[]): ReturnType<typeof graft> =>
    graft(folder, ["train", "run.yaml", ...data, "--train.save_every", "2", ...args]);
  const adapter = (out: string): Buffer => readFileSync(join(folder, out, "adapter/adapter_model.safetensors"));
  expect((await train("--out", "whole")).status).toBe(0);
  const { memory } = JSON.parse(readFileSync(join(folder, "whole/summary.json"), "utf8")) as {
    readonly memory: { readonly peak: Readonly<Record<string, number>> };
  };
  // What answers take is not part of the plan, so a cap that training and saving just fit is reached when the first is written.
  const most = Object.values(memory.peak).reduce((sum, bytes) => sum + bytes, 5000);
  const judged = ["--train.eval_every", "3", "--data.metrics.0", "bleu"];
  const short = await train(...judged, "--train.device_memory", String(most));
  expect(short.status, short.stderr).toBe(1);
  expect(short.stderr).toMatch(/needs .* of device memory/);
  expect(short.stderr).toContain("train.batch_size with train.accumulate");
  expect(short.stderr).toContain("out/checkpoints/step-2 is whole. Go on with: ");

  const resumed = await train(...judged, "--resume");
  expect(resumed.status, resumed.stderr).toBe(0);
  expect(adapter("out")).toEqual(adapter("whole"));
}, 240_000);
