import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Base, declareBase } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { buildModel, families, loadModel, logitsOf, randomBase, saveModel } from "../src/index.ts";
import { changed, emptyFolder, tensorsOf } from "./folders.ts";
import { decoders, folderOf, idsOf } from "./golden.ts";

const jsonIn = (folder: string, name = "config.json"): Record<string, unknown> =>
  JSON.parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown>;

async function logitsFrom(folder: string, name: string): Promise<number[][]> {
  const { model, base } = await loadModel(folder);
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, base);
  return (await logitsOf({ runtime, store, model }, idsOf(name))).map((x) => [...x]);
}

describe("saveModel", () => {
  it.each(decoders)("writes the tensors that were read, bit for bit (%s)", async (name) => {
    const folder = emptyFolder();
    const { model, base } = await loadModel(folderOf(name));
    await saveModel(folder, model, base);
    const [written, read] = [await tensorsOf(name, folder), await tensorsOf(name)];
    expect([...written.keys()].toSorted()).toEqual([...read.keys()].toSorted());
    for (const [key, tensor] of read) expect(written.get(key), key).toEqual(tensor);
  });

  it("writes shards that load as one", async () => {
    const folder = emptyFolder();
    const { model, base } = await loadModel(folderOf("llama"));
    await saveModel(folder, model, base, { shardBytes: 20_000 });
    const files = readdirSync(folder)
      .filter((f) => f.endsWith(".safetensors"))
      .toSorted();
    expect(files[0]).toBe(`model-00001-of-0000${files.length}.safetensors`);
    expect(files.length).toBeGreaterThan(2);
    expect(await logitsFrom(folder, "llama")).toEqual(await logitsFrom(folderOf("llama"), "llama"));
  });

  it("says in config.json what was written, whatever was read", async () => {
    const source = await changed("llama", {
      config: { torch_dtype: "bfloat16", dtype: "bfloat16", architectures: ["LlamaModel"] },
    });
    const { model, base } = await loadModel(source);
    const folder = emptyFolder();
    await saveModel(folder, model, base);
    const config = jsonIn(folder);
    expect([config["dtype"], config["torch_dtype"], config["architectures"]]).toEqual([
      "float32",
      undefined,
      ["LlamaForCausalLM"],
    ]);
  });

  it("keeps half precision", async () => {
    const { model, base } = await loadModel(folderOf("gpt2"), { weights: "f16" });
    const folder = emptyFolder();
    await saveModel(folder, model, base);
    const again = await loadModel(folder);
    expect(again.base.describe("transformer.h.0.mlp.c_fc.weight")!.dtype).toBe("f16");
    for (const key of base.names()) expect(await again.base.read(key), key).toEqual(await base.read(key));
  });

  it("takes the tokenizer along, and nothing else", async () => {
    const files = {
      "tokenizer.json": "{}",
      "tokenizer_config.json": "{}",
      "generation_config.json": "{}",
      "notes.txt": "x",
    };
    const folder = emptyFolder();
    const { model, base } = await loadModel(folderOf("llama"));
    await saveModel(folder, model, base, { companions: await changed("llama", { files }) });
    expect(readdirSync(folder).toSorted()).toEqual([
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
  });

  it("writes whole numbers as floats where the configuration had them so", async () => {
    const { model, base } = await loadModel(folderOf("t5"), { task: "seq2seq-lm" });
    const folder = emptyFolder();
    await saveModel(folder, model, base, { companions: folderOf("t5") });
    const text = readFileSync(join(folder, "config.json"), "utf8");
    expect(text).toMatch(/"initializer_factor": 1\.0,/); // transformers refuses 1
    expect(text).toMatch(/"num_layers": 1,/);
  });

  it("leaves what was there before if it fails", async () => {
    const { model, base } = await loadModel(folderOf("llama"));
    const folder = await changed("llama", {});
    const before = readFileSync(join(folder, "model.safetensors"));
    const broken: Base = { ...base, read: () => Promise.reject(new Error("the disk is gone")) };
    await expect(saveModel(folder, model, broken)).rejects.toThrow(/the disk is gone/);
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(before);
    expect(readdirSync(join(folder, ".."))).toEqual(["model"]);
  });
});

describe("random weights", () => {
  const config = {
    model_type: "gpt2",
    vocab_size: 50,
    n_positions: 16,
    n_embd: 64,
    n_layer: 8,
    n_head: 2,
    initializer_range: 0.05,
  };
  const of = (json: Record<string, unknown>, seed = 0): Base => {
    const family = families.find((f) => f.type === json["model_type"])!;
    return randomBase(buildModel(json), family, seed);
  };
  const deviation = async (base: Base, name: string): Promise<number> => {
    const values = [...(await base.read(name))];
    return Math.sqrt(values.reduce((s, x) => s + x * x, 0) / values.length);
  };

  it("follow GPT-2's rules", async () => {
    const base = of(config);
    expect(await deviation(base, "transformer.h.0.attn.c_attn.weight")).toBeCloseTo(0.05, 2);
    expect(await deviation(base, "transformer.wte.weight")).toBeCloseTo(0.05, 2);
    expect(await deviation(base, "transformer.h.3.mlp.c_proj.weight")).toBeCloseTo(0.05 / 4, 3);
    expect(new Set(await base.read("transformer.h.3.ln_1.weight"))).toEqual(new Set([1]));
    expect(new Set(await base.read("transformer.h.3.ln_1.bias"))).toEqual(new Set([0]));
    expect(new Set(await base.read("transformer.h.3.attn.c_proj.bias"))).toEqual(new Set([0]));
  });

  it("leave Llama's padding row at zero", async () => {
    const base = of({ ...jsonIn(folderOf("llama-tied")), pad_token_id: 4 });
    const rows = [...(await base.read("model.embed_tokens.weight"))];
    expect(rows.slice(4 * 18, 5 * 18)).toEqual(Array.from({ length: 18 }, () => 0));
    expect(rows.filter((x) => x === 0)).toHaveLength(18);
  });

  it("depend on seed and name only", async () => {
    const name = "transformer.h.1.mlp.c_fc.weight";
    const values = await of(config).read(name);
    expect(await of({ ...config, n_layer: 2 }).read(name)).toEqual(values);
    expect(await of(config, 1).read(name)).not.toEqual(values);
    expect(await of(config).read(name.replace("h.1", "h.0"))).not.toEqual(values);
  });

  it("need no weights in the folder", async () => {
    const folder = await changed("llama", { files: { "model.safetensors": null } });
    const { model, base } = await loadModel(folder, { init: "random", seed: 3 });
    expect([...base.names()].toSorted()).toEqual([...(await tensorsOf("llama")).keys()].toSorted());
    const saved = emptyFolder();
    await saveModel(saved, model, base);
    const again = await loadModel(saved);
    for (const key of base.names()) expect(await again.base.read(key)).toEqual(await base.read(key));
  });
});
