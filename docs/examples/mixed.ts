import lora from "@graftml/lora";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase, mixed, openScope, predict } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";

const { model, base } = await loadModel("packages/lora/test/golden/llama");
const adapters = [
  adapt(model, [lora({ rank: 4 })], { id: "french" }),
  adapt(model, [lora({ rank: 2, target: "all-linear" })], { id: "legal" }),
];

const runtime = hostRuntime(); // or a device
const store = runtime.store();
declareBase(store, base);
for (const adapter of adapters) declareAdapter(store, adapter, base, { seed: 0 }); // or { state }, of loadAdapter

const program = await runtime.compile(store, (trace) => {
  const choice = trace.input("adapter", [3], "i32"); // for each row the number of its adapter, from 1 on; 0: none
  const stacks = adapters.map((adapter) => adapter.layers);
  const scope = openScope(trace, [mixed(choice, stacks)], { train: false, model: model.info });
  return { logits: predict(model, scope, { batch: 3, length: 4 }) };
});
const { logits } = await program.run({ adapter: [1, 2, 0], ids: [3, 1, 4, 1, 3, 1, 4, 1, 3, 1, 4, 1] });
console.log(logits?.length); // 3 rows × 4 tokens × the vocabulary
