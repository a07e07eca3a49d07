import { readFileSync } from "node:fs";
import { join } from "node:path";
import { distance, goldenBase, goldenSizes, logits, shaken, started, tinyLlama } from "@graftml/conformance";
import { adapt, ConfigError, type Loaded } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { beforeAll, describe, expect, it } from "vitest";
import { adalora, combine, type CombineOptions, lora } from "../src/index.ts";
import { compute } from "./golden-model.ts";

interface Combined {
  readonly weights: readonly number[];
  readonly combination_type: string;
  readonly svd_rank?: number;
  readonly density?: number;
  readonly majority_sign_method?: "frequency";
  readonly logits: readonly (readonly (readonly number[])[])[];
}
const golden = join(import.meta.dirname, "steps");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as {
  readonly rows: readonly (readonly (readonly number[])[])[];
  readonly combined: Readonly<Record<string, Combined>>;
};
const model = tinyLlama({ sizes: goldenSizes });
const base = await goldenBase(model, join(golden, "llama/model.safetensors"));
const rig = { model, base, runtime: hostRuntime() };

/** PEFT's words for ours. */
const optionsOf = ({ combination_type: type, svd_rank: rank, density, majority_sign_method: sign }: Combined) =>
  ({
    how: type === "svd" ? "linear" : type.replace("_svd", ""),
    svd: type.endsWith("svd") ? rank! : null,
    ...(density !== undefined && { density }),
    ...(sign && { sign }),
  }) as CombineOptions;

describe("LoRAs combined", () => {
  let pair: readonly Loaded[];
  beforeAll(async () => {
    const load = (name: string) => loadAdapter(join(golden, "llama/combine", name), model, [lora], { id: name });
    pair = [await load("a"), await load("b")];
  });
  const logitsOf = async (loaded: Loaded) => (await compute(rig, loaded, record.rows[0]!.slice(0, 1)))["y"]!;

  it.each(Object.entries(record.combined))("say what PEFT's say: %s", async (_, wanted) => {
    const combined = combine(model, pair, wanted.weights, optionsOf(wanted));
    expect(distance(await logitsOf(combined), wanted.logits.flat(2))).toBeLessThan(1e-5);
  });

  it("are the sum of their updates, whatever their ranks, if put side by side", async () => {
    const one = shaken(await started(rig, adapt(model, [lora({ rank: 3, target: "all-linear" })])), 1);
    const other = shaken(await started(rig, adapt(model, [lora({ rank: 1, init: "pissa" })], { id: "other" })), 2);
    const stacked = [
      one,
      { ...other, adapter: adapt(model, [lora({ rank: 1, init: "pissa" })], { id: "other", below: [one.adapter] }) },
    ];
    const combined = combine(model, stacked, [1, 1], { how: "cat" });
    expect(distance(await logits(rig, [combined]), await logits(rig, stacked))).toBeLessThan(1e-6);
  });

  it("are one of them again with a weight of 1, and undo one with a weight of −1", async () => {
    const [a] = pair as readonly [Loaded, Loaded];
    for (const how of ["linear", "cat", "ties", "dare_linear", "magnitude_prune"] as const)
      expect(distance(await logitsOf(combine(model, [a], [1], { how })), await logitsOf(a)), how).toBeLessThan(1e-6);
    const undone = combine(model, [a, a], [1, -1], { how: "cat" });
    expect(
      distance(
        await logitsOf(undone),
        await logits(rig).then(() => logitsOf(combine(model, [a], [0], { how: "linear" }))),
      ),
    ).toBeLessThan(1e-9);
  });

  it("lose numbers at random and grow the others, by a seed", async () => {
    const [a] = pair as readonly [Loaded, Loaded];
    const numbers = (seed: number): readonly number[] =>
      [...combine(model, [a], [1], { how: "dare_linear", density: 0.5, seed }).state.values()].flatMap((x) => [
        ...x.values,
      ]);
    const [once, again, other] = [numbers(1), numbers(1), numbers(2)];
    const share = once.filter((x) => x === 0).length / once.length;
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
    expect(again).toEqual(once);
    expect(other).not.toEqual(once);
  });

  it.each<[string, () => unknown, string]>([
    ["another method's adapter", () => combineOne(adalora({ rank: 2, target_rank: 1 })), "adalora cannot be combined"],
    ["what changes more than A and B tell", () => combineOne(lora({ dora: true })), "only A and B can be combined"],
    [
      "a weight for each that is missing",
      () => combine(model, pair, [1], { how: "cat" }),
      "2 adapters need as many weights, not 1",
    ],
    ["a share of nothing", () => combine(model, pair, [1, 1], { how: "ties", density: 0 }), "combine.density"],
  ])("refuse %s", async (_, attempt, message) => {
    const failed = Promise.resolve().then(attempt);
    await expect(failed).rejects.toThrow(ConfigError);
    await expect(failed).rejects.toThrow(message);
  });

  it("refuse to sum factors of different ranks", async () => {
    const [a] = pair as readonly [Loaded, Loaded];
    const other = await started(rig, adapt(model, [lora({ rank: 2 })], { id: "other" }));
    expect(() => combine(model, [a, other], [1, 1], { how: "linear" })).toThrow("the ranks are 4 and 2");
  });
});

async function combineOne(method: ReturnType<typeof lora>): Promise<Loaded> {
  return combine(model, [await started(rig, adapt(model, [method]))], [1], { how: "linear" });
}
