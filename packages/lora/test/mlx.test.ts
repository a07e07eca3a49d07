import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openFolder } from "@graftml/peft/files";
import { describe, expect, it } from "vitest";
import { mlx } from "../src/index.ts";
import { compute, goldenModel } from "./golden-model.ts";

const made = join(import.meta.dirname, "mlx");

describe.each(["llama/attention", "llama/last", "gpt2/attention"])("%s, made by mlx-lm", (name) => {
  it("has the same logits here", async () => {
    const setup = await goldenModel(name.split("/")[0]!);
    const folder = await openFolder(join(made, name));
    expect(await mlx.recognises(folder)).toBe(true);
    const { y = [] } = await compute(setup, await mlx.read(folder, setup.model, []));
    const theirs = JSON.parse(readFileSync(join(made, name, "logits.json"), "utf8")) as readonly number[];
    const apart = Math.max(...theirs.map((x, i) => Math.abs(x - (y[i] ?? NaN))));
    expect(apart / Math.max(...theirs.map(Math.abs))).toBeLessThan(1e-5);
  });

  it("is written with the same scale, rank and places", async () => {
    const { model } = await goldenModel(name.split("/")[0]!);
    const { adapter, state } = await mlx.read(await openFolder(join(made, name)), model, []);
    const files = mlx.write?.(adapter, model, state, { name, base: null }) ?? {};
    const [ours, theirs] = [
      files["adapter_config.json"] as string,
      readFileSync(join(made, name, "adapter_config.json"), "utf8"),
    ].map((text) => JSON.parse(text) as { lora_parameters: { keys?: readonly string[] } });
    const { keys, ...parameters } = theirs!.lora_parameters;
    expect(ours).toMatchObject({ ...theirs, lora_parameters: parameters });
    if (keys !== undefined) expect(new Set(ours?.lora_parameters.keys)).toEqual(new Set(keys));
  });
});
