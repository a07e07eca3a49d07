import { readFileSync } from "node:fs";
import { join } from "node:path";
import { declareBase, openScope, predict, StateError } from "@graftml/peft";
import { hostRuntime, Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { loadModel, type LoadOptions, logitsOf } from "../src/index.ts";
import { changed, emptyFolder, fileFrom, type FileTensor, tensorsOf } from "./folders.ts";
import { difference, flat, folderOf, goldenOf, idsOf } from "./golden.ts";

async function logitsFrom(folder: string, name: string, options: LoadOptions = {}): Promise<number[]> {
  const { model, base } = await loadModel(folder, options);
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, base);
  return (await logitsOf({ runtime, store, model }, idsOf(name))).flatMap((x) => [...x]);
}

/** Loads a changed copy of a golden folder; how far its logits are from the golden ones. */
const drift = async (name: string, change: Parameters<typeof changed>[1], options?: LoadOptions): Promise<number> =>
  difference(await logitsFrom(await changed(name, change), name, options), flat(goldenOf(name).logits));

const rename = (tensors: Map<string, FileTensor>, from: string, to: string): void => {
  tensors.set(to, tensors.get(from)!);
  tensors.delete(from);
};
const floats = (t: FileTensor): Float32Array => new Float32Array(t.data.slice().buffer);

describe("loadModel", () => {
  it("reads files that were saved from the bare body, with buffers of older versions", async () => {
    const gpt2 = await drift("gpt2", {
      tensors: (t) => {
        for (const key of Array.from(t.keys())) rename(t, key, key.replace("transformer.", ""));
        t.set("h.0.attn.bias", { dtype: "U8", shape: [1, 1, 2, 2], data: new Uint8Array(4) });
        t.set("h.1.attn.masked_bias", { dtype: "F32", shape: [], data: new Uint8Array(4) });
      },
    });
    const llama = await drift("llama-tied", {
      tensors: (t) =>
        t.set("model.layers.0.self_attn.rotary_emb.inv_freq", { dtype: "F32", shape: [3], data: new Uint8Array(12) }),
    });
    expect(Math.max(gpt2, llama)).toBeLessThan(1e-5);
  });

  it("reads a tied weight under either name, or both if they agree", async () => {
    const head = "lm_head.weight";
    const embedding = "model.embed_tokens.weight";
    expect(await drift("llama-tied", { tensors: (t) => rename(t, embedding, head) })).toBeLessThan(1e-5);
    expect(await drift("llama-tied", { tensors: (t) => t.set(head, t.get(embedding)!) })).toBeLessThan(1e-5);
  });

  it("reads shards", async () => {
    const all = [...(await tensorsOf("llama"))];
    const parts = [new Map(all.slice(0, 5)), new Map(all.slice(5))];
    const map = parts.flatMap((part, i) => [...part.keys()].map((key) => [key, `part-${i}.safetensors`]));
    const files = {
      "model.safetensors": null,
      "part-0.safetensors": fileFrom(parts[0]!),
      "part-1.safetensors": fileFrom(parts[1]!),
      "model.safetensors.index.json": JSON.stringify({ weight_map: Object.fromEntries(map) }),
    };
    expect(await drift("llama", { files })).toBeLessThan(1e-5);
  });

  it("widens bfloat16", async () => {
    const inBrain = (t: FileTensor): FileTensor => ({
      dtype: "BF16",
      shape: t.shape,
      data: new Uint8Array(Uint16Array.from(new Uint32Array(t.data.slice().buffer), (word) => word >>> 16).buffer),
    });
    const folder = await changed("gpt2", { tensors: (t) => t.forEach((value, key) => t.set(key, inBrain(value))) });
    const { base } = await loadModel(folder);
    const name = "transformer.ln_f.weight";
    expect(base.describe("transformer.wte.weight")!.dtype).toBe("f32");
    const exact = floats((await tensorsOf("gpt2")).get(name)!);
    expect(difference(await base.read(name), [...exact])).toBeLessThan(2 ** -7);
  });

  it("stores matrices as told, and vectors in f32 always", async () => {
    const { base } = await loadModel(folderOf("gpt2"), { weights: "f16" });
    expect(base.describe("transformer.h.0.attn.c_attn.weight")).toEqual({ shape: [72, 24], dtype: "f16" });
    expect(base.describe("transformer.h.0.attn.c_attn.bias")).toEqual({ shape: [72], dtype: "f32" });
    expect(await drift("gpt2", {}, { weights: "f16" })).toBeLessThan(2e-3);
  });

  it("keeps half precision where the file has it, and widens it where told", async () => {
    const { model, base } = await loadModel(folderOf("llama"), { weights: "f16" });
    const words = new Map(await Promise.all([...base.names()].map(async (n) => [n, await base.read(n)] as const)));
    const inHalf = (tensors: Map<string, FileTensor>): void =>
      words.forEach((source, key) => {
        if (source instanceof Uint16Array)
          tensors.set(key, {
            dtype: "F16",
            shape: base.describe(key)!.shape,
            data: new Uint8Array(source.slice().buffer),
          });
      });
    const folder = await changed("llama", { tensors: inHalf });
    const [auto, wide] = [await loadModel(folder), await loadModel(folder, { weights: "f32" })];
    expect(auto.base.describe("lm_head.weight")).toEqual({ shape: [model.info.vocabulary, 24], dtype: "f16" });
    expect(await auto.base.read("lm_head.weight")).toEqual(words.get("lm_head.weight"));
    expect(wide.base.describe("lm_head.weight")!.dtype).toBe("f32");
    expect(await logitsFrom(folder, "llama", { weights: "f32" })).toEqual(await logitsFrom(folder, "llama"));
  });

  it("says which ids end a text, the generation settings first", async () => {
    expect((await loadModel(folderOf("llama-tied"))).eos).toEqual([2, 3]);
    expect((await loadModel(folderOf("gpt2-untied"))).eos).toEqual([]);
    const files = { "generation_config.json": JSON.stringify({ eos_token_id: 7 }) };
    expect((await loadModel(await changed("llama", { files }))).eos).toEqual([7]);
  });

  it("describes weights that are not there, in the type that config.json names, and refuses to read them", async () => {
    const without = { files: { "model.safetensors": null } };
    const norm = "model.norm.weight";
    const describedAs = async (config: Readonly<Record<string, unknown>>): Promise<string[]> => {
      const { base } = await loadModel(await changed("llama", { ...without, config }), { init: "described" });
      await expect(base.read(norm)).rejects.toThrow(/model\.norm\.weight cannot be read/);
      return ["lm_head.weight", norm].map((name) => base.describe(name)!.dtype);
    };
    expect(await describedAs({ torch_dtype: "float16" })).toEqual(["f16", "f32"]);
    expect(await describedAs({ dtype: "bfloat16" })).toEqual(["f32", "f32"]);
  });

  it("describes weights that are there as they are", async () => {
    const { base } = await loadModel(folderOf("llama"), { init: "described" });
    expect((await base.read("model.norm.weight")).length).toBe(24);
  });

  it("takes families of third parties", async () => {
    const { model } = await loadModel(folderOf("llama"));
    const other = {
      type: "other",
      prefix: "model",
      build: () => ({ ...model, info: { ...model.info, type: "other" } }),
    };
    const folder = await changed("llama", { config: { model_type: "other" } });
    expect((await loadModel(folder, { families: [other] })).model.info.type).toBe("other");
  });
});

describe("loadModel refuses", () => {
  const truncated = readFileSync(join(folderOf("llama"), "model.safetensors")).subarray(0, 5000);
  const norm = "model.norm.weight";
  const swap = (value: (t: FileTensor) => FileTensor) => ({
    tensors: (t: Map<string, FileTensor>) => void t.set(norm, value(t.get(norm)!)),
  });

  it.each<[string, Parameters<typeof changed>[1], RegExp]>([
    ["a folder without config.json", { files: { "config.json": null } }, /config\.json cannot be read/],
    ["a config.json that is not JSON", { files: { "config.json": "{" } }, /config\.json is not JSON/],
    ["a config.json that is no object", { files: { "config.json": "[]" } }, /config\.json must hold a JSON object/],
    [
      "an unknown model type",
      { config: { model_type: "gpt9" } },
      /model_type "gpt9"; known are "llama", "mistral", .*"gpt2"/,
    ],
    ["no model type", { config: { model_type: undefined } }, /no model_type/],
    [
      "a missing size",
      { config: { hidden_size: undefined } },
      /config\.json: hidden_size: .*expected number.*; found nothing/,
    ],
    ["a size of the wrong type", { config: { vocab_size: "61" } }, /vocab_size: .*expected number.*; found "61"/],
    ["an unknown activation", { config: { hidden_act: "mish" } }, /hidden_act: .*"silu".*; found "mish"/],
    [
      "scaled rotary positions",
      { config: { rope_scaling: { rope_type: "yarn", factor: 4 } } },
      /rope_scaling\.rope_type: .*"default"\|"linear"\|"llama3".*; found "yarn"/,
    ],
    [
      "scaled rotary parameters that lack a key",
      { config: { rope_parameters: { rope_type: "llama3", factor: 8, low_freq_factor: 1 } } },
      /rope_parameters\.high_freq_factor: rope_type "llama3" needs it/,
    ],
    ["tensor-parallel pretraining", { config: { pretraining_tp: 2 } }, /pretraining_tp: only 1 is supported; found 2/],
    [
      "quantized weights",
      { config: { quantization_config: { bits: 4 } } },
      /its weights are quantized by undefined; no package/,
    ],
    [
      "heads that do not divide",
      { config: { num_key_value_heads: 3 } },
      /num_key_value_heads: must divide num_attention_heads; found 3/,
    ],
    ["an odd head", { config: { head_dim: 9 } }, /head_dim: must be even.*; found 9/],
    ["a folder without weights", { files: { "model.safetensors": null } }, /has no weights: model\.safetensors/],
    [
      "weights of another format",
      { files: { "model.safetensors": null, "pytorch_model.bin": "x" } },
      /pytorch_model\.bin .*save_pretrained/,
    ],
    ["a truncated file", { files: { "model.safetensors": truncated } }, /model\.safetensors is truncated/],
    [
      "an index that misplaces",
      {
        files: { "model.safetensors": null, "model.safetensors.index.json": `{"weight_map":{"a":"gone.safetensors"}}` },
      },
      /no file .*gone\.safetensors/,
    ],
    ["a missing tensor", { tensors: (t) => void t.delete(norm) }, /missing \(1 of \d+\): model\.norm\.weight/],
    ["an unexpected tensor", { tensors: (t) => void t.set("model.extra", t.get(norm)!) }, /unexpected: model\.extra/],
    [
      "a tensor of the wrong shape",
      swap((t) => ({ ...t, shape: [2, 12] })),
      /model\.norm\.weight is \[2, 12\], config\.json makes it \[24\]/,
    ],
    [
      "a tensor of the wrong type",
      swap((t) => ({ ...t, dtype: "I32" })),
      /model\.norm\.weight is I32, a weight is F32, F16, BF16/,
    ],
    ["a damaged tokenizer", { files: { "tokenizer.json": "{}" } }, /tokenizer\.json is no tokenizer/],
  ])("%s", async (_, change, message) => {
    const error: unknown = await loadModel(await changed("llama", change)).catch((e: unknown) => e);
    expect(StateError.is(error)).toBe(true);
    expect((error as Error).message).toMatch(message);
  });

  it("a folder that is not there", async () => {
    await expect(loadModel(emptyFolder())).rejects.toThrow(/there is no folder/);
  });

  it("tied weights that differ", async () => {
    const folder = await changed("llama-tied", {
      tensors: (t) => {
        const { dtype, shape, data } = t.get("model.embed_tokens.weight")!;
        t.set("lm_head.weight", { dtype, shape, data: data.map((byte, i) => (i === 1 ? byte ^ 1 : byte)) });
      },
    });
    await expect(loadModel(folder)).rejects.toThrow(
      /ties lm_head\.weight to model\.embed_tokens\.weight, .*they differ/,
    );
  });

  it("to store in f16 what f16 cannot hold", async () => {
    const folder = await changed("llama", {
      tensors: (t) => {
        const head = t.get("lm_head.weight")!;
        const values = floats(head);
        values[5] = 7e4;
        t.set("lm_head.weight", { ...head, data: new Uint8Array(values.buffer as ArrayBuffer) });
      },
    });
    const { base } = await loadModel(folder, { weights: "f16" });
    await expect(base.read("lm_head.weight")).rejects.toThrow(/lm_head\.weight holds 70000/);
  });
});

describe("the model's own dropout", () => {
  const dropped = async (name: string, dropout: number | "config", train: boolean): Promise<readonly unknown[]> => {
    const { model } = await loadModel(folderOf(name), { dropout, task: goldenOf(name).task });
    const trace = new Trace();
    predict(model, openScope(trace, [], { train, model: model.info }), { batch: 1, length: 4 });
    const rates = trace.nodes.filter((n) => n.op.name === "attention").map((n) => (n.attrs as { drop: number }).drop);
    return [...new Set(rates)];
  };

  it("acts inside attention while training, by config.json or as told", async () => {
    expect(await dropped("gpt2", "config", true)).toEqual([0.1]);
    expect(await dropped("gpt2", 0.25, true)).toEqual([0.25]);
    expect(await dropped("llama", 0.25, true)).toEqual([0.25]);
    expect(await dropped("t5", "config", true)).toEqual([0.1]);
    expect(await dropped("gpt2", 0, true)).toEqual([0]);
    expect(await dropped("gpt2", "config", false)).toEqual([0]);
  });
});
