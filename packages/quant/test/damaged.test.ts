import { readFileSync } from "node:fs";
import { join } from "node:path";
import { goldenSizes, tinyLlama } from "@graftml/conformance";
import { type JsonObject, openSafetensors, StateError, type TensorEntry, type TensorFile } from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import { beforeAll, describe, expect, it } from "vitest";
import { bitsandbytes } from "../src/index.ts";

const folder = join(import.meta.dirname, "golden/llama/nf4-double");
const { quantization_config: settings } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as {
  readonly quantization_config: JsonObject;
};
const model = tinyLlama({ sizes: goldenSizes });
const weight = "model.layers.0.mlp.up_proj.weight";
const state = `${weight}.quant_state.bitsandbytes__nf4`;

let file: TensorFile;
beforeAll(async () => {
  file = await openSafetensors(await fileSource(join(folder, "model.safetensors")));
});

/** The file with one tensor described otherwise; null: without it. */
const described = (name: string, change: Partial<TensorEntry> | null): TensorFile => {
  const tensors = new Map(file.tensors);
  const entry = tensors.get(name)!;
  if (change === null) tensors.delete(name);
  else tensors.set(name, { ...entry, ...change });
  return { ...file, tensors };
};
/** The file with other words in a weight's description. */
const saying = (from: RegExp, to: string): TensorFile => ({
  ...file,
  bytes: async (name) =>
    name === state
      ? new TextEncoder().encode(new TextDecoder().decode(await file.bytes(name)).replace(from, to))
      : file.bytes(name),
});
const refusal = async (damaged: TensorFile, said: JsonObject = settings): Promise<string> => {
  const error: unknown = await bitsandbytes.open(damaged, said, model).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(StateError);
  return (error as StateError).message;
};

describe("a quantized checkpoint is refused", () => {
  it("if a weight has another number of codes or scales than its description gives", async () => {
    expect(await refusal(described(weight, { shape: [191, 1] }))).toContain(
      `${weight} is U8 [191, 1]; its quantization wants U8 [192].`,
    );
    expect(await refusal(saying(/"shape": \[24, 16\]/, '"shape": [24, 32]'))).toContain(`${weight} is U8 [192, 1]`);
    expect(await refusal(saying(/"blocksize": 64/, '"blocksize": 32'))).toContain(`${weight}.absmax is U8 [6]`);
  });

  it("if a part of a weight is missing", async () => {
    for (const part of ["absmax", "quant_map", "nested_absmax", "nested_quant_map"])
      expect(await refusal(described(`${weight}.${part}`, null))).toContain(`${weight}.${part} is missing`);
    expect(await refusal(saying(/, "nested_offset": [^}]*/, ""))).toContain("no nested_offset");
  });

  it("if a description is none, or of another type than its name says", async () => {
    expect(await refusal(saying(/\{/, ""))).toContain(`${state} is not the description of a weight in nf4`);
    expect(await refusal(saying(/nf4/, "fp4"))).toContain("it says fp4");
  });

  it("if its table is not that of its type", async () => {
    const flat = {
      ...file,
      read: async (name: string) => (name.endsWith(".quant_map") ? new Float32Array(16) : file.read(name)),
    };
    expect(await refusal(flat)).toContain(".quant_map is not the table of nf4");
  });

  it("if config.json says another type, or a type where nothing is quantized", async () => {
    expect(await refusal(file, { ...settings, bnb_4bit_quant_type: "fp4" })).toContain("config.json says fp4");
    const plain = { ...file, tensors: new Map([...file.tensors].filter(([name]) => name.includes("norm"))) };
    expect(await refusal(plain)).toContain("stored as nf4, but no tensor is");
  });
});
