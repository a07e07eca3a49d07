import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fit, goldenBase, type GoldenRecord, goldenSizes, tinyLlama } from "@graftml/conformance";
import { lora } from "@graftml/lora";
import { adapt } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { quant } from "@graftml/quant";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { expect, it } from "vitest";

const golden = join(import.meta.dirname, "../../../packages/quant/test/golden");
const { rows, cases } = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;

it("LoRA on a base in four bits has torch's losses on a device, step by step", async () => {
  const model = tinyLlama({ sizes: goldenSizes });
  const below = adapt(model, [quant({ double_quant: true })], { id: "base", trainable: false });
  const loaded = await loadAdapter(join(golden, "llama/lora"), model, [lora], { below: [below] });
  const base = await goldenBase(model, join(golden, "llama/model.safetensors"));
  const runtime = deviceRuntime(await requestDevice());
  try {
    const examples = rows.flat().map((ids) => ({ ids, labels: ids }));
    const setting = { steps: rows.length, rows: examples, batchSize: rows[0]?.length ?? 0, shuffle: false, lr: 1e-2 };
    const { losses } = await fit({ model, base, runtime }, [{ adapter: below }, loaded], setting);
    losses.forEach((loss, step) =>
      expect(Math.abs(loss / cases["llama/nf4-double"]!.loss[step]! - 1), `step ${step + 1}`).toBeLessThan(1e-3),
    );
  } finally {
    runtime.dispose();
  }
}, 240_000); // a dozen texts are compiled
