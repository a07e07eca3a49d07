import lora from "@graftml/lora";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { causalLm, encodeText, train } from "@graftml/trainer";

const { model, base, tokenizer, eos } = await loadModel("apps/cli/demo/model"); // any folder in Hugging Face's layout
const adapter = adapt(model, [lora({ rank: 8, target: "all-linear" })]);
const runtime = hostRuntime(); // the interpreter; on a GPU: deviceRuntime(await requestDevice())
const store = runtime.store();
declareBase(store, base);
const trainable = declareAdapter(store, adapter, base, { seed: 0 });
const encode = tokenizer?.encode ?? (() => []);
const rows = [encodeText("ROMEO:\nGood morrow, cousin.", { encode, end: eos[0] ?? null, maxLength: 32 })];
const run = {
  runtime,
  store,
  model,
  adapters: [adapter],
  trainable,
  task: causalLm,
  rows,
  batchSize: 1,
  steps: 3,
  lr: 1e-2,
};
for await (const event of train(run)) if (event.type === "step") console.log(event.step, event.loss);
