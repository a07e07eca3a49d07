import { describeMethod, fit, randomBase, started, tinyBert, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { adapt, encodeAdapter } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { adalora, lora } from "./index.ts";

describeMethod(
  adalora,
  [
    { rank: 2, target_rank: 2 },
    { rank: 2, target_rank: 2, alpha: 1, target: "all-linear", dropout: 0.1, orthogonality: 0 },
  ],
  {
    models: [tinyLlama(), tinyBert()],
    with: [lora({ rank: 2, target: ["attn.v", "mlp.down"] })],
    readme: new URL("../README.md", import.meta.url),
  },
);

describe("adalora's budget", () => {
  const model = tinyGpt2({ dropout: 0 });
  const rig = { model, base: randomBase(model), runtime: hostRuntime() };
  const ranksAfter = async (steps: number, given: Parameters<typeof adalora>[0]): Promise<readonly number[]> => {
    const adapter = adapt(model, [adalora({ rank: 4, target_rank: 2, target: "all-linear", ...given })]);
    const { loaded } = await fit(rig, [await started(rig, adapter)], { steps });
    return [...loaded[0]!.state].flatMap(([name, { values }]) =>
      name.endsWith("lora_E") ? [Array.from(values, Number).filter((x) => x !== 0).length] : [],
    );
  };
  const total = (ranks: readonly number[]): number => ranks.reduce((a, b) => a + b, 0);
  const linears = 8;

  it("is all ranks while it warms up, and what was asked for at the end", async () => {
    expect(total(await ranksAfter(6, { warmup: 5 }))).toBe(2 * linears);
    expect(total(await ranksAfter(8, { warmup: 2, cooldown: 3 }))).toBe(2 * linears);
  });

  it("is shared out by importance: some linears keep more than others", async () => {
    expect(new Set(await ranksAfter(8, { warmup: 2, cooldown: 3 })).size).toBeGreaterThan(1);
  });

  it("saves the ranks that are kept, and says which they were", async () => {
    const adapter = adapt(model, [adalora({ rank: 4, target_rank: 2, target: "all-linear" })]);
    const { loaded } = await fit(rig, [await started(rig, adapter)], { steps: 5 });
    const { config, tensors } = encodeAdapter(adapter, model, loaded[0]!.state);
    const pattern = config["rank_pattern"] as Readonly<Record<string, readonly boolean[]>>;
    expect(total(Object.values(pattern).map((kept) => kept.filter(Boolean).length))).toBe(2 * linears);
    for (const [name, kept] of Object.entries(pattern))
      expect(tensors.get(`base_model.model.${name}`)!.shape).toEqual([kept.filter(Boolean).length, 1]);
  });

  it.each<[string, number, Parameters<typeof adalora>[0], string]>([
    ["a schedule longer than the run", 4, { warmup: 2, cooldown: 2 }, "adalora.warmup"],
    ["more ranks at the end than at the start", 4, { target_rank: 5 }, "adalora.target_rank is 5"],
  ])("refuses %s", async (_, steps, given, message) => {
    await expect(ranksAfter(steps, given)).rejects.toThrow(message);
  });
});
