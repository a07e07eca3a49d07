import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expectGoldenSteps, goldenBase, type GoldenRecord, goldenSizes, tinyLlama } from "@graftml/conformance";
import { adapt } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, it } from "vitest";
import { diffprune } from "../src/index.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const model = tinyLlama({ sizes: goldenSizes });

describe("ten steps of learning gates, a cut, and ten steps of what is left", () => {
  it.each([false, true])("are the paper's formulas in torch (structured: %s)", async (structured) => {
    const base = await goldenBase(model, join(golden, "llama/model.safetensors"));
    const adapter = adapt(model, [diffprune({ fraction: 0.1, l0: 1e-3, alpha: 1, gate_rate: 10, structured })]);
    const steps = record.cases[`llama/${structured ? "structured" : "plain"}`]!;
    await expectGoldenSteps({ model, base, runtime: hostRuntime() }, [{ adapter }], record, steps);
  });
});
