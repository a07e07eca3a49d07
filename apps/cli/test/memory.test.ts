import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { config, graft, withFiles } from "./helpers.ts";

/** A folder whose model is a config.json and nothing else: 13 million parameters. */
function planned(run: object = {}): string {
  const described = {
    ...config,
    vocab_size: 8192,
    hidden_size: 512,
    intermediate_size: 1024,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    max_position_embeddings: 256,
  };
  const settings = { model: "model", methods: [{ name: "lora" }], data: { max_length: 64 }, ...run };
  return withFiles({ "model/config.json": JSON.stringify(described), "run.yaml": stringify(settings) });
}

interface Told {
  readonly candidates: readonly {
    readonly settings: readonly string[];
    readonly total: number;
    readonly fits: boolean;
  }[];
  readonly changes: object | null;
}

async function told(folder: string, memory: string): Promise<Told> {
  const { status, stdout, stderr } = await graft(folder, ["inspect", "run.yaml", "--memory", memory, "--json"]);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Told;
}

describe("graft inspect --memory", { timeout: 60_000 }, () => {
  it("finds settings for a model of which only a config.json is there, and what it gives then fits as it is", async () => {
    const folder = planned();
    const { candidates, changes } = await told(folder, "30MB");
    expect(candidates[0]).toMatchObject({ settings: [], fits: false });
    expect(candidates.at(-1)).toMatchObject({ fits: true });
    expect(changes).toMatchObject({ methods: [{ name: "quant", type: "nf4" }, { name: "lora" }] });
    const again = planned(changes ?? {});
    const second = await told(again, "30MB");
    expect(second.candidates).toEqual([{ ...candidates.at(-1), settings: [], changes: {} }]);
  });

  it("says when nothing fits", async () => {
    const { status, stdout } = await graft(planned(), ["inspect", "run.yaml", "--memory", "1MB"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Nothing fits into 1\.0 MB: the least that was found takes \d+\.\d MB\./);
  });

  it("refuses a size that is none, and a run that trains nothing", async () => {
    const folder = planned();
    const size = await graft(folder, ["inspect", "run.yaml", "--memory", "much"]);
    expect(size).toMatchObject({ status: 2, stdout: "" });
    expect(size.stderr).toContain('--memory: wants a size such as 16GB or 8GiB; got "much"');
    const nothing = await graft(folder, ["inspect", "--model", "model", "--memory", "1GB"]);
    expect(nothing).toMatchObject({ status: 2, stdout: "" });
    expect(nothing.stderr).toContain("the run trains nothing");
  });
});

describe("graft inspect", { timeout: 60_000 }, () => {
  it("plans a model of which only a config.json is there", async () => {
    const { status, stdout, stderr } = await graft(planned(), ["inspect", "run.yaml", "--device", "host", "--json"]);
    expect(status, stderr).toBe(0);
    const { memory, total, trainable } = JSON.parse(stdout) as {
      memory: Record<string, number>;
      total: number;
      trainable: number;
    };
    expect(memory["weights"]).toBe(8 * (total - trainable)); // the interpreter computes in f64
  });

  it("says what is missing of a quantized model without weights", async () => {
    const folder = planned();
    const quantized = { ...config, quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } };
    writeFileSync(join(folder, "model/config.json"), JSON.stringify(quantized));
    const { status, stderr } = await graft(folder, ["inspect", "run.yaml", "--memory", "1GB"]);
    expect(status).toBe(2);
    expect(stderr).toContain("has no weights");
  });
});
