/** Public adapters in the layouts they came in, converted for models of their shapes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type JsonObject, openSafetensors } from "@graftml/peft";
import { fileSource } from "@graftml/peft/files";
import { describe, expect, it } from "vitest";
import { emptyFolder, graft, withFiles } from "./helpers.ts";

const artifacts = join(import.meta.dirname, "../../../../shared/models/peft-artifacts");
const t5 = (width: number, inner: number, layers: number, heads: number): JsonObject => ({
  model_type: "t5",
  vocab_size: 32128,
  d_model: width,
  d_kv: 64,
  d_ff: inner,
  num_layers: layers,
  num_heads: heads,
  feed_forward_proj: "gated-gelu",
  tie_word_embeddings: false,
  decoder_start_token_id: 0,
});
const gpt2: JsonObject = {
  model_type: "gpt2",
  vocab_size: 50257,
  n_positions: 1024,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
};

/** Converts for a model of which there is nothing but a configuration. */
async function convert(config: JsonObject, adapter: string, ...more: readonly string[]): Promise<string> {
  const folder = withFiles({ "config.json": JSON.stringify(config) }, emptyFolder());
  const args = ["--model", ".", "--adapter", join(artifacts, adapter), "--to", "peft", "--out", "out", ...more];
  const { status, stderr } = await graft(folder, ["convert", ...args]);
  expect(status, stderr).toBe(0);
  return join(folder, "out");
}
const tensorsOf = async (path: string) => openSafetensors(await fileSource(path));
const configOf = (folder: string): JsonObject =>
  JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as JsonObject;

describe("graft convert", { timeout: 60_000 }, () => {
  it("writes T-Few's (IA)³ of T0-3B as PEFT has it: every vector, and 540,672 numbers", async () => {
    const out = await convert(t5(2048, 5120, 24, 32), "t0-3b-ia3/ia3.safetensors", "--task", "seq2seq-lm");
    expect(configOf(out)).toMatchObject({ peft_type: "IA3", feedforward_modules: [] });
    expect(new Set(configOf(out)["target_modules"] as string[])).toEqual(new Set(["k", "v", "wi_1"]));
    const [written, original] = [
      await tensorsOf(join(out, "adapter_model.safetensors")),
      await tensorsOf(join(artifacts, "t0-3b-ia3/ia3.safetensors")),
    ];
    expect(written.tensors.size).toBe(192);
    let numbers = 0;
    for (const name of original.tensors.keys()) {
      const values = await original.read(name);
      numbers += values.length;
      expect(await written.read(`base_model.model.${name.replace("multi_lora_b", "ia3_l")}`), name).toEqual(values);
    }
    expect(numbers).toBe(540_672);
  });

  it.each(["mrpc", "rte", "sst2"])("writes the soft prompt %s as PEFT has it", async (name) => {
    const out = await convert(t5(768, 2048, 12, 12), `t5-prompts/${name}.npy`, "--task", "seq2seq-lm");
    expect(configOf(out)).toMatchObject({ peft_type: "PROMPT_TUNING", num_virtual_tokens: 100, token_dim: 768 });
    const values = await (await tensorsOf(join(out, "adapter_model.safetensors"))).read("prompt_embeddings");
    const original = readFileSync(join(artifacts, `t5-prompts/${name}.npy`)).subarray(-4 * 100 * 768);
    expect(Buffer.from(Float32Array.from(values).buffer).equals(original)).toBe(true);
  });

  it("writes a LoRA for GPT-2 as it came", async () => {
    const out = await convert(gpt2, "gpt2-lora-tigrinya");
    const [written, original] = [out, join(artifacts, "gpt2-lora-tigrinya")].map(async (folder) =>
      tensorsOf(join(folder, "adapter_model.safetensors")),
    ) as [ReturnType<typeof tensorsOf>, ReturnType<typeof tensorsOf>];
    expect((await written).tensors.size).toBe(72);
    for (const name of (await original).tensors.keys())
      expect(await (await written).read(name), name).toEqual(await (await original).read(name));
  });
});
