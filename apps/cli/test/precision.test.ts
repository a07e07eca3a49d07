/** Half precision, on the f64 interpreter, which rounds as a device does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fit, randomBase, tinyLlama } from "@graftml/conformance";
import { lora } from "@graftml/lora";
import { adapt } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { hostRuntime } from "@graftml/tensor";
import { expect, it } from "vitest";
import { graft, project } from "./helpers.ts";

const model = tinyLlama();

it.each([
  { what: "LoRA", below: [] },
  { what: "LoRA on a base in four bits", below: [adapt(model, [quant()], { id: "base", trainable: false })] },
])("twenty steps of $what in half precision lose what they lose in single precision", async ({ below }) => {
  const rig = { model, base: randomBase(model), runtime: hostRuntime() };
  const adapter = adapt(model, [lora({ rank: 2, target: "all-linear" })], { below });
  const attached = [...below, adapter].map((a) => ({ adapter: a }));
  const lossesIn = async (precision: "f32" | "f16"): Promise<readonly number[]> =>
    (await fit(rig, attached, { steps: 20, lr: 1e-3, precision })).losses;
  const [single, half] = [await lossesIn("f32"), await lossesIn("f16")];
  const apart = half.map((loss, i) => Math.abs(loss / single[i]! - 1));
  expect(Math.max(...apart)).toBeLessThan(1e-3);
  expect(Math.min(...apart)).toBeGreaterThan(0);
});

it(
  "a file that asks for bf16 gets f32, and a line that says so; one that asks for f16 gets it",
  { timeout: 120_000 },
  async () => {
    const folder = await project();
    const losses = async (precision: string): Promise<{ readonly stderr: string; readonly losses: unknown }> => {
      const out = ["--out", precision, "--device", "host", "--train.steps", "2"];
      const { stderr } = await graft(folder, ["train", "run.yaml", "--train.precision", precision, ...out]);
      const lines = readFileSync(join(folder, precision, "metrics.jsonl"), "utf8")
        .trim()
        .split("\n");
      return { stderr, losses: lines.map((line) => (JSON.parse(line) as { loss?: number; eval?: unknown }).loss) };
    };
    const [single, half, brain] = [await losses("f32"), await losses("f16"), await losses("bf16")];
    expect(brain.losses).toEqual(single.losses);
    expect(brain.stderr).toMatch(/^compute f32: WebGPU has no bf16/m);
    expect(half.losses).not.toEqual(single.losses);
    expect(half.stderr).toMatch(/^compute linear layers read f16/m);
    expect(single.stderr).not.toMatch(/^compute/m);
  },
);
