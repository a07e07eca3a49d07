import { type Model, type Site, sites } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { buildModel } from "../src/index.ts";

const gpt2 = (n_embd: number, n_layer: number, n_head: number, n_positions: number): Model =>
  buildModel({ model_type: "gpt2", vocab_size: 50_257, n_embd, n_layer, n_head, n_positions });
const t5 = (d_model: number, d_ff: number, num_heads: number): Model =>
  buildModel(
    {
      model_type: "t5",
      vocab_size: 32_128,
      d_kv: 64,
      num_layers: 24,
      feed_forward_proj: "gated-gelu",
      tie_word_embeddings: false,
      decoder_start_token_id: 0,
      d_model,
      d_ff,
      num_heads,
    },
    { task: "seq2seq-lm" },
  );
const models = {
  "GPT-2 medium": gpt2(1024, 24, 16, 1024),
  "GPT-3": gpt2(12_288, 96, 96, 2048),
  "T5-v1.1-XXL": t5(4096, 10_240, 64),
  "T0-3B": t5(2048, 5120, 32),
};

const total = (model: Model): number =>
  sites(model).reduce((n, { kind, shape }) => n + (kind === "param" ? sizeOf(shape) : 0), 0);
const linears = (model: Model, ...roles: readonly string[]): Site[] =>
  sites(model).filter((s) => s.kind === "linear" && roles.some((role) => s.roles.includes(role)));
const sumOf = (places: readonly Site[], count: (s: Site) => number): number => places.reduce((n, s) => n + count(s), 0);

describe("parameters, from configurations alone", () => {
  it.each([
    ["GPT-2 medium", 354_823_168],
    ["GPT-3", 174_604_259_328],
    ["T5-v1.1-XXL", 11_135_332_352],
    ["T0-3B", 2_849_757_184],
  ] as const)("of %s are %i", (name, count) => {
    expect(total(models[name])).toBe(count);
  });

  it("of methods are what papers count", () => {
    const lora = (name: keyof typeof models, rank: number, ...roles: readonly string[]): number =>
      sumOf(linears(models[name], ...roles), (s) => rank * (s.in + s.out));
    expect(lora("T5-v1.1-XXL", 8, "attn.q", "attn.v", "cross.q", "cross.v")).toBe(9_437_184);
    const scaled = linears(models["T0-3B"], "attn.k", "attn.v", "cross.k", "cross.v", "mlp.up");
    expect(sumOf(scaled, (s) => s.out)).toBe(540_672); // (IA)³
    const { layers, keyHeads, headWidth } = models["GPT-2 medium"].info;
    expect(5 * 2 * layers * keyHeads * headWidth).toBe(245_760); // prefix of 5
    const { layers: blocks, hidden: D } = models["GPT-3"].info;
    expect(4 * 2 * blocks * (D + D)).toBe(18_874_368); // LoRA of rank 4 on queries and values, which GPT-2 has fused
  });
});
