/** @file Suite `memory`: a training step's bytes as planned and as allocated, by method, on two models of random weights. */
import { lora } from "@graftml/lora";
import type { Adapted } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { full } from "@graftml/surgical";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { configOf } from "../architectures.ts";
import { gptYardstick, MEDIUM } from "../gpt.ts";
import type { Report, Row } from "../report.ts";
import { trainingStep, type Yardstick } from "../training.ts";

const MB = 1e6;

const onAll = lora({ rank: 8, alpha: 16, target: "all-linear" });
const ways: Readonly<Record<string, readonly Adapted[]>> = {
  full: [full()],
  LoRA: [onAll],
  QLoRA: [quant({ type: "nf4", double_quant: true }), onAll],
};

/** GPT-2 as its configuration has it, without dropout: 124 million parameters, 2 × 128 tokens. */
const GPT2: Yardstick = {
  ...gptYardstick({ ...MEDIUM, batch: 2 }),
  config: { ...configOf("gpt2"), resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 },
};

const total = (bytes: Readonly<Record<string, number>>): number => Object.values(bytes).reduce((a, b) => a + b, 0);

/** Megabytes after one step, each way in a runtime of its own, one after the other. */
export async function memory(): Promise<Report> {
  const rows: Row[] = [];
  for (const [model, yardstick] of Object.entries({ "4 layers": gptYardstick(MEDIUM), "GPT-2": GPT2 })) {
    for (const [way, methods] of Object.entries(ways)) {
      const runtime = deviceRuntime(await requestDevice());
      const step = await trainingStep(runtime, way, yardstick, methods);
      await step.run();
      const allocated = total(runtime.allocated());
      rows.push({
        name: `${model}, ${way}`,
        figures: {
          "planned, MB": total(step.memory) / MB,
          "allocated, MB": allocated / MB,
          "allocated / planned": allocated / total(step.memory),
          "all but activations, MB": (allocated - (runtime.allocated()["activations"] ?? 0)) / MB,
        },
      });
      runtime.dispose();
    }
  }
  return { suite: "memory", rows };
}
