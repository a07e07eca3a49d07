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

  it("is what merging writes again when asked, and then says what that does to logits and loss", async () => {
    const folder = await project();
    const run = async (...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> => {
      const { status, stdout, stderr } = await graft(folder, [...args, "--json"]);
      expect(status, stderr).toBe(0);
      return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
    };
    await run("quantize", "--model", "model", "--out", "stored", "--double-quant");
    await run("train", "run.yaml", "--model", "stored", "--train.lr", "0.05", ...host);
    const merging = ["merge", "run.yaml", "--model", "stored", ...host];
    const plain = await run(...merging, "--out", "plain");
    const coded = await run(...merging, "--out", "coded", "--into-quantized");
    expect(plain["loss"]).toBeUndefined();
    expect(plain["relative"]).toBeLessThan(1e-6);
    expect(coded["relative"]).toBeGreaterThan(1e-3);

    const settings = (name: string): unknown =>
      (JSON.parse(bytes(folder, `${name}/config.json`).toString()) as Readonly<Record<string, unknown>>)[
        "quantization_config"
      ];
    expect(settings("plain")).toBeUndefined();
    expect(settings("coded")).toEqual(settings("stored"));
    const { attached, merged } = coded["loss"] as Readonly<Record<string, number>>;
    const held = async (...args: readonly string[]): Promise<unknown> => run("eval", ...args, ...host);
    expect(await held("run.yaml", "--model", "stored")).toMatchObject({ adapted: { loss: attached } });
    const alone = await held("--model", "coded", "--data.eval", "dev.csv");
    expect(alone).toMatchObject({ base: { loss: merged } });
    expect(alone).not.toHaveProperty("adapted"); // how it is stored is no adapter
    expect(merged).not.toBe(attached);

    const whole = await graft(folder, [
      "merge",
      "--model",
      "model",
      "--adapter",
      "out/adapter",
      "--out",
      "no",
      ...host,
      "--into-quantized",
    ]);
    expect(whole.status).toBe(2);
    expect(whole.stderr).toContain("--into-quantized: model is stored in full precision");
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
