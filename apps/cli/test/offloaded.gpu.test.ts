import { lora } from "@graftml/lora";
import { buildModel, llamas, randomBase } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { causalLm, type Checkpoint, planRun, type Run, train } from "@graftml/trainer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { config } from "./helpers.ts";

const [LAYERS, WIDTH, BATCH, LENGTH] = [5, 32, 2, 16];
const sizes = { vocab_size: 64, hidden_size: WIDTH, intermediate_size: 48, num_hidden_layers: LAYERS };
const model = buildModel({ ...config, ...sizes });
const base = randomBase(model, llamas[0]!, 0);
const rows = Array.from({ length: 6 }, (_, row) => {
  const ids = Array.from({ length: LENGTH }, (_, i) => 3 + ((7 * i + 11 * row) % 61));
  return { ids, labels: ids };
});

let runtime: Runtime;
beforeAll(async () => void (runtime = deviceRuntime(await requestDevice())));
afterAll(() => runtime.dispose());

/** LoRA on a small Llama whose blocks are recomputed. */
function run(choices: Partial<Run> = {}): Run {
  const { runtime: on = runtime } = choices;
  const store = on.store();
  declareBase(store, base);
  const adapter = adapt(model, [lora({ target: "all-linear", dropout: 0.1 })]);
  const trainable = declareAdapter(store, adapter, base, { seed: 0 });
  const setting = { runtime: on, store, model, adapters: [adapter], trainable, task: causalLm, rows };
  return { ...setting, batchSize: BATCH, lr: 0.01, steps: 6, checkpointActivations: true, ...choices };
}

async function losses(of: Run): Promise<readonly number[]> {
  const told: number[] = [];
  for await (const event of train(of)) if (event.type === "step") told.push(event.loss, event.gradNorm);
  return told;
}

const offloadActivations = true;

it("activations that wait on the host train a model of several blocks to the same bits, resumed or not", async () => {
  const kept: Checkpoint[] = [];
  const checkpoints = { save: async (checkpoint: Checkpoint) => `memory/${kept.push(checkpoint)}` };
  const want = await losses(run({ accumulate: 2 }));
  expect(await losses(run({ accumulate: 2, offloadActivations, saveEvery: 4, checkpoints }))).toEqual(want);
  expect(await losses(run({ accumulate: 2, offloadActivations, resume: kept[0] }))).toEqual(want.slice(2 * 4));
}, 240_000);

it("activations that wait on the host are allocated as planned, and no step allocates more", async () => {
  const own = deviceRuntime(await requestDevice());
  const job = run({ runtime: own, offloadActivations, steps: 50 });
  const { transfer: _, ...plan } = planRun(job);
  expect(plan["offloaded"]).toBe(LAYERS * 4 * BATCH * LENGTH * WIDTH);
  const seen = new Set<string>();
  for await (const event of train(job)) {
    if (event.type !== "step") continue;
    const { transfer, ...allocated } = own.allocated();
    expect(allocated).toEqual(plan);
    seen.add(String(transfer));
  }
  expect(seen.size).toBe(1);
  own.dispose();
}, 240_000);
