import lora from "@graftml/lora";
import { loadModel, saveModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase, merge, readState } from "@graftml/peft";
import { loadAdapter, saveAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { causalLm, train } from "@graftml/trainer";

const { model, base } = await loadModel(process.argv[2] ?? "packages/lora/test/golden/llama");
const adapter = adapt(model, [lora({ rank: 4, alpha: 8, target: ["attn.q", "attn.v", "mlp.down"] })]);

const runtime = hostRuntime(); // or a device: deviceRuntime(await requestDevice())
const store = runtime.store();
declareBase(store, base);
const trainable = declareAdapter(store, adapter, base, { seed: 0 });
const ids = [3, 1, 4, 1, 5, 9, 2, 6];
const run = { runtime, store, model, adapters: [adapter], trainable, task: causalLm, batchSize: 1, steps: 3, lr: 1e-2 };
for await (const event of train({ ...run, rows: [{ ids, labels: ids }] }))
  if (event.type === "step") console.log(event.step, event.loss);

await saveAdapter("runs/lora/adapter", adapter, model, await readState(store, adapter)); // PEFT loads this
const loaded = await loadAdapter("runs/lora/adapter", model, [lora]);
await saveModel("runs/lora/merged", model, merge(model, base, [loaded])); // transformers loads this
