import { readFileSync } from "node:fs";
import { join } from "node:path";
import { goldenBase, goldenSizes, logits, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { adapt, type Base, type Model, type OpenedCheckpoint, openSafetensors, type TensorFile } from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { beforeAll, describe, expect, it } from "vitest";
import { bitsandbytes, bitsandbytesWriter, quant } from "../src/index.ts";
import { digest, forms, writtenBy } from "./written.ts";

const golden = join(import.meta.dirname, "golden");
const read = (path: string): unknown => JSON.parse(readFileSync(join(golden, path), "utf8"));
const { decoded } = read("golden.json") as {
  readonly decoded: Readonly<Record<string, Readonly<Record<string, string>>>>;
};
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes: goldenSizes }),
  gpt2: tinyGpt2({ sizes: goldenSizes, dropout: 0 }),
};
const cases = Object.keys(models).flatMap((name) => Object.keys(forms).map((form) => [name, form] as const));

describe.each(cases)("a %s that transformers stored as %s", (name, form) => {
  const model = models[name]!;
  let base: Base;
  let file: TensorFile;
  let opened: OpenedCheckpoint;
  beforeAll(async () => {
    base = await goldenBase(model, join(golden, name, "model.safetensors"));
    file = await openSafetensors(await fileSource(join(golden, name, form, "model.safetensors")));
    const { quantization_config: settings } = read(`${name}/${form}/config.json`) as { quantization_config: object };
    opened = await bitsandbytes.open(file, settings as Readonly<Record<string, unknown>>, model);
  });

  it("is decoded to the weights that bitsandbytes decodes", async () => {
    const weights = Object.entries(decoded[`${name}/${form}`]!);
    expect(weights.length).toBeGreaterThan(7);
    for (const [weight, wanted] of weights) {
      const values = (await opened.file.read(weight)) as Float32Array<ArrayBuffer>;
      const [rows = 0, columns = 0] = opened.file.tensors.get(weight)!.shape;
      // A file of a GPT-2 holds weights as [in, out], codes are of [out, in].
      const turned = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
      expect(digest(name === "gpt2" ? turned : values), weight).toBe(wanted);
    }
  });

  it("is written with the same tensors, byte for byte", async () => {
    const written = await writtenBy(bitsandbytesWriter(forms[form]!), model, base);
    const parts = [...file.tensors].filter(([key]) => !opened.file.tensors.has(key) || written.has(key));
    expect([...written.keys()].sort()).toEqual(parts.map(([key]) => key).sort());
    for (const [key, { dtype, shape, bytes }] of written) {
      expect({ dtype, shape }, key).toMatchObject({
        dtype: file.tensors.get(key)!.dtype,
        shape: file.tensors.get(key)!.shape,
      });
      expect(digest(bytes), key).toBe(digest(await file.bytes(key)));
    }
  });

  it("says what the plain model says with quant in front, to the bit", async () => {
    const rig = { model, base, runtime: hostRuntime() };
    const theirs = await logits(rig, [{ adapter: adapt(model, opened.methods) }]);
    expect(theirs).toEqual(await logits(rig, [{ adapter: adapt(model, [quant(forms[form])]) }]));
    expect(theirs).not.toEqual(await logits(rig));
  });
});
