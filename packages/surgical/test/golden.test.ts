import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expectGoldenSteps, goldenBase, type GoldenRecord, goldenSizes, tinyLlama } from "@graftml/conformance";
import { adapt, type Adapted } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, it } from "vitest";
import { autoRgn, autoSnr } from "../src/index.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const model = tinyLlama({ sizes: goldenSizes });

describe("ranking on five micro-batches, and twenty steps at those rates", () => {
  it.each<[string, Adapted]>([
    ["tensor", autoRgn()],
    ["layer", autoRgn({ per: "layer" })],
    ["snr", autoSnr()],
  ])("are torch's: %s", async (kind, method) => {
    const base = await goldenBase(model, join(golden, "llama/model.safetensors"));
    const adapter = adapt(model, [method]);
    await expectGoldenSteps(
      { model, base, runtime: hostRuntime() },
      [{ adapter }],
      record,
      record.cases[`llama/${kind}`]!,
    );
  });
});
