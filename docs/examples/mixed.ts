import lora from "@graftml/lora";
import { loadModel, openGenerator } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";

const { model, base } = await loadModel("packages/lora/test/golden/llama");
const french = adapt(model, [lora({ rank: 4 })], { id: "french" });
const legal = adapt(model, [lora({ rank: 2, target: "all-linear" })], { id: "legal" });

const runtime = hostRuntime(); // or a device
const store = runtime.store();
declareBase(store, base);
for (const adapter of [french, legal]) declareAdapter(store, adapter, base, { seed: 0 }); // or the `state` of loadAdapter

const generator = openGenerator({ runtime, store, model, stacks: [[french], [legal]] });
const prompts = [
  [3, 1, 4],
  [1, 5],
  [9, 2, 6],
];
const rows = [1, 2, 0]; // for each prompt the number of its stack, 0 for none
for await (const { row, id } of generator.generate({ prompts, rows, maxNewTokens: 4 })) console.log(row, id);
