/** `graft quantize` and runs on what it writes, on the f64 interpreter. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { graft, project, RUN } from "./helpers.ts";

const host = ["--device", "host"];
const losses = (folder: string, out: string): readonly unknown[] =>
  readFileSync(join(folder, out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as Readonly<Record<string, unknown>>)["loss"]);
const bytes = (folder: string, path: string): Buffer => readFileSync(join(folder, path));

describe("graft quantize", { timeout: 120_000 }, () => {
  it("writes a folder on which training has the bits of quant in front of the methods", async () => {
    const folder = await project();
    const args = ["--model", "model", "--out", "stored", "--type", "nf4", "--double-quant", "--json"];
    const { status, stdout, stderr } = await graft(folder, ["quantize", ...args]);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ type: "nf4", block: 64, double_quant: true });

    const first = await graft(folder, ["train", "run.yaml", "--model", "stored", "--out", "a", ...host]);
    expect(first.status, first.stderr).toBe(0);
    const stacked = RUN.replace("methods:", "methods:\n  - { name: quant, double_quant: true }");
    writeFileSync(join(folder, "stacked.yaml"), stacked);
    const second = await graft(folder, ["train", "stacked.yaml", "--out", "b", ...host]);
    expect(second.status, second.stderr).toBe(0);
    expect(losses(folder, "a")).toEqual(losses(folder, "b"));
    const file = "adapter/adapter_model.safetensors";
    expect(bytes(folder, `a/${file}`).equals(bytes(folder, `b/${file}`))).toBe(true);
    const { peft_type } = JSON.parse(bytes(folder, "b/adapter/adapter_config.json").toString()) as {
      peft_type: string;
    };
    expect(peft_type).toBe("LORA"); // how the base is stored is not part of an adapter
  });

  it("refuses what is quantized already, a type it does not know, and a folder that is not free", async () => {
    const folder = await project();
    const quantize = (...args: readonly string[]) => graft(folder, ["quantize", ...args]);
    expect((await quantize("--model", "model", "--out", "stored")).status).toBe(0);
    for (const [args, said] of [
      [["--model", "stored", "--out", "again"], "stored is quantized already"],
      [["--model", "model", "--out", "other", "--type", "nf5"], "quant.type"],
      [["--model", "model", "--out", "stored"], "holds a model already"],
      [["--model", "model"], "--out is missing"],
    ] as const) {
      const { status, stderr } = await quantize(...args);
      expect(status, stderr).toBe(2);
      expect(stderr).toContain(said);
    }
  });
});
