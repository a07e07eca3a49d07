import { join } from "node:path";
import { tinyGpt2 } from "@graftml/conformance";
import { encodeAdapter } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

const folder = join(import.meta.dirname, "../../../../shared/models/peft-artifacts/gpt2-lora-tigrinya");
/** GPT-2 with 124 million parameters; no weights are needed to resolve an adapter on it. */
const model = tinyGpt2({
  sizes: { vocabulary: 50257, hidden: 768, inner: 3072, heads: 12, keyHeads: 12, layers: 12, positions: 1024 },
});

describe("a LoRA for GPT-2 from a public repository", () => {
  it("is read with its configuration and all of its tensors", async () => {
    const { adapter, state } = await loadAdapter(folder, model, [lora]);
    expect(adapter.methods[0]?.config).toMatchObject({
      rank: 8,
      alpha: 32,
      dropout: 0.05,
      target: ["c_attn", "c_proj"],
    });
    expect(state.size).toBe(2 * 3 * 12); // A and B of three linears in twelve blocks
    expect(state.get("transformer.h.11.mlp.c_proj.lora_A.weight")?.shape).toEqual([8, 3072]);
    for (const { values } of state.values()) expect(values.some((v) => v !== 0)).toBe(true);
  });

  it("is written as it came", async () => {
    const { adapter, state } = await loadAdapter(folder, model, [lora]);
    const { config, tensors } = encodeAdapter(adapter, model, state, { base: "gpt2" });
    expect(config).toMatchObject({
      r: 8,
      lora_alpha: 32,
      fan_in_fan_out: true,
      base_model_name_or_path: "gpt2",
      task_type: "CAUSAL_LM",
    });
    expect(new Set(config["target_modules"] as string[])).toEqual(new Set(["c_attn", "c_proj"]));
    expect(tensors.size).toBe(72);
  });
});
