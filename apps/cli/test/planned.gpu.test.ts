import { lora } from "@graftml/lora";
import { buildModel, llamas, randomBase } from "@graftml/models";
import { adapt, type Adapted, declareAdapter, declareBase } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { full } from "@graftml/surgical";
import { deviceRuntime, type MemoryPlan, requestDevice } from "@graftml/tensor";
import { causalLm, planRun, train } from "@graftml/trainer";
import { expect, it } from "vitest";
import { config } from "./helpers.ts";

const sizes = { vocab_size: 512, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2 };
const model = buildModel({ ...config, ...sizes });
const onAll = lora({ target: "all-linear" });
const ids = Array.from({ length: 32 }, (_, i) => 3 + i);
const total = (plan: MemoryPlan): number => Object.values(plan).reduce((a, b) => a + b, 0);

it.each<[string, readonly Adapted[]]>([
  ["full fine-tuning", [full()]],
  ["LoRA", [onAll]],
  ["LoRA on a base in four bits", [quant({ type: "nf4", double_quant: true }), onAll]],
])("%s allocates what was planned, to 2 percent", { timeout: 240_000 }, async (_, methods) => {
  const runtime = deviceRuntime(await requestDevice());
  try {
    const store = runtime.store();
    const base = randomBase(model, llamas[0]!, 0);
    declareBase(store, base);
    const adapter = adapt(model, methods);
    const trainable = declareAdapter(store, adapter, base, { seed: 0 });
    const rows = [{ ids, labels: ids }];
    const setting = { runtime, store, model, adapters: [adapter], trainable, task: causalLm };
    const run = { ...setting, rows, batchSize: 4, steps: 2, lr: 1e-3 };
    const planned = total(planRun(run));
    const allocated: number[] = [];
    for await (const { type } of train(run)) if (type === "step") allocated.push(total(runtime.allocated()));
    expect(allocated).toHaveLength(2);
    for (const bytes of allocated) expect(Math.abs(bytes / planned - 1)).toBeLessThan(0.02);
  } finally {
    runtime.dispose();
  }
});
