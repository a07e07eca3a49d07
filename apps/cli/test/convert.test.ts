import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pfeiffer } from "@graftml/adapters";
import { lora, mlx } from "@graftml/lora";
import { buildModel } from "@graftml/models";
import { type AdapterFormat, adapt, type JsonObject } from "@graftml/peft";
import { openFolder, saveAdapter } from "@graftml/peft/files";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { config, graft, project } from "./helpers.ts";

const model = buildModel(config);
const json = (folder: string, file: string): JsonObject =>
  JSON.parse(readFileSync(join(folder, file), "utf8")) as JsonObject;

/** A project with a saved adapter whose numbers are all different. */
async function withAdapter(method: Parameters<typeof adapt>[1][number]): Promise<string> {
  const folder = await project();
  const adapter = adapt(model, [method]);
  let n = 0;
  const state = new Map(
    adapter.owned.map((o) => [
      o.name.slice("default/".length),
      { shape: o.shape, values: new Float32Array(sizeOf(o.shape)).map(() => ++n) },
    ]),
  );
  await saveAdapter(join(folder, "adapter"), adapter, model, state);
  return folder;
}
const convert = (folder: string, from: string, to: string, out: string, ...more: readonly string[]) =>
  graft(folder, ["convert", "--model", "model", "--adapter", from, "--to", to, "--out", out, ...more]);
const tensors = (folder: string, name: string): Buffer => readFileSync(join(folder, name));

describe("graft convert", { timeout: 60_000 }, () => {
  it.each([
    ["mlx", lora({ rank: 2, alpha: 6, target: ["attn.q", "mlp.down"] })],
    ["adapterhub", pfeiffer({ size: 3, invertible: {} })],
  ])("writes an adapter for %s and reads it again, with the same numbers", async (to, method) => {
    const folder = await withAdapter(method);
    const there = await convert(folder, "adapter", to, "there", "--json");
    expect(there.status, there.stderr).toBe(0);
    expect(JSON.parse(there.stdout)).toMatchObject({ from: "peft", to, methods: [method.name] });
    const back = await convert(folder, "there", "peft", "back");
    expect(back.status, back.stderr).toBe(0);
    const file = "adapter_model.safetensors";
    expect(tensors(join(folder, "back"), file)).toEqual(tensors(join(folder, "adapter"), file));
  });

  it("makes one adapter of several, with what each counts", async () => {
    const folder = await withAdapter(lora({ rank: 2, target: ["attn.q"] }));
    const twice = (...more: readonly string[]) =>
      convert(folder, "adapter", "peft", "one", "--adapter", "adapter", "--combine", "{how: cat}", ...more);
    const made = await twice("--weights", "1,-1");
    expect(made.status, made.stderr).toBe(0);
    expect(json(folder, "one/adapter_config.json")).toMatchObject({ peft_type: "LORA", r: 4 });
    const wrong = await twice("--weights", "1", "--force");
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain("--weights: wants 2 numbers with commas between; got 1.");
    const unknown = await convert(folder, "adapter", "peft", "two", "--adapter", "adapter", "--combine", "{hwo: cat}");
    expect(unknown.stderr).toContain(
      'combine.hwo: unknown key "hwo". Did you mean "how"?'.replace("combine.hwo", "combine"),
    );
    expect(existsSync(join(folder, "two"))).toBe(false);
  });

  it("writes mlx-lm's keys: the last blocks, one rank, the scale itself, matrices turned", async () => {
    const folder = await withAdapter(lora({ rank: 2, alpha: 6, target: ["attn.q", "mlp.down"] }));
    await convert(folder, "adapter", "mlx", "there");
    expect(json(folder, "there/adapter_config.json")).toEqual({
      fine_tune_type: "lora",
      num_layers: 1,
      lora_parameters: { rank: 2, scale: 3, dropout: 0, keys: ["self_attn.q_proj", "mlp.down_proj"] },
    });
    const { state } = await mlx.read(await openFolder(join(folder, "there")), model, []);
    expect(state.get("model.layers.0.mlp.down_proj.lora_A.weight")?.shape).toEqual([2, 16]);
  });

  it("trains on what another tool made", async () => {
    const folder = await withAdapter(lora({ rank: 2, target: ["attn.q"] }));
    await convert(folder, "adapter", "mlx", "there");
    const args = [
      "train",
      "run.yaml",
      "--device",
      "host",
      "--methods",
      "[]",
      "--adapter",
      "there",
      "--train.steps",
      "2",
    ];
    const { status, stderr } = await graft(folder, args);
    expect(status, stderr).toBe(0);
    expect(json(folder, "out/adapter/adapter_config.json")).toMatchObject({ peft_type: "LORA", r: 2 });
  });

  it.each<[string, (folder: string) => Promise<{ status: number | null; stderr: string }>, string]>([
    [
      "a format that is not there",
      (f) => convert(f, "adapter", "mxl", "out"),
      '--to mxl: there is no such format. Did you mean "mlx"?',
    ],
    ["a format that is only read", (f) => convert(f, "adapter", "npy", "out"), "--to npy: this format is only read"],
    [
      "what the format has no place for",
      (f) => convert(f, "adapter", "adapterhub", "out"),
      "AdapterHub's files have no place for lora",
    ],
    [
      "a folder with something in it",
      (f) => convert(f, "adapter", "mlx", "tokens"),
      "is not empty and holds no adapter",
    ],
    ["a missing option", (f) => graft(f, ["convert", "--model", "model"]), "--adapter is missing"],
    [
      "files that do not fit the model",
      async (f) => {
        const text = readFileSync(join(f, "adapter/adapter_config.json"), "utf8");
        writeFileSync(join(f, "adapter/adapter_config.json"), text.replace('"r": 2', '"r": 3'));
        return convert(f, "adapter", "mlx", "out");
      },
      "wrong shape",
    ],
  ])("refuses %s, and leaves nothing behind", async (_, attempt, message) => {
    const folder = await withAdapter(lora({ rank: 2 }));
    const { status, stderr } = await attempt(folder);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
    expect(existsSync(join(folder, "out"))).toBe(false);
  });
});

describe("mlx-lm's folders", () => {
  const write = (given: Parameters<typeof lora>[0]): ReturnType<NonNullable<AdapterFormat["write"]>> => {
    const adapter = adapt(model, [lora(given)]);
    const state = new Map(
      adapter.owned.map((o) => [
        o.name.slice("default/".length),
        { shape: o.shape, values: new Float32Array(sizeOf(o.shape)) },
      ]),
    );
    return mlx.write?.(adapter, model, state, { name: "a", base: null }) ?? {};
  };

  it.each<[string, Parameters<typeof lora>[0], string]>([
    ["DoRA", { dora: true }, "with dora"],
    ["several ranks", { rank_pattern: { v_proj: 2 } }, "mlx-lm has one rank for all linears; here are 8 and 2"],
    ["several scales", { alpha_pattern: { v_proj: 2 } }, "mlx-lm has one scale"],
    ["a head", { target: ["unembed"] }, "mlx-lm adapts linears of blocks; lm_head is in none"],
  ])("have no place for %s", (_, given, message) => {
    expect(() => write(given)).toThrow(message);
  });
});
