import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll } from "vitest";
import { describeGolden } from "./golden-cases.ts";
import { describePacking } from "./packing-cases.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = deviceRuntime(await requestDevice());
});
afterAll(() => runtime.dispose());
// f32 on both sides. One of each shape: a software adapter takes seconds to compile a backward pass.
const names = ["llama", "qwen3", "smollm3", "gemma", "llama3", "gpt2", "gpt2-score", "t5", "t5-untied"];
describeGolden(() => runtime, names, { logits: 1e-4, gradients: 1e-3, steps: 1e-3 });
describePacking(() => runtime, ["llama", "gpt2"], 1e-5);
