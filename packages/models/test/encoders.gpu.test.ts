import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll } from "vitest";
import { describeGolden } from "./golden-cases.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = deviceRuntime(await requestDevice());
});
afterAll(() => runtime.dispose());
// f32 on both sides. One of each shape: a software adapter takes seconds to compile a backward pass.
const names = ["bert-tokens", "roberta-classes", "deberta-v2-tokens", "vit-classes"];
describeGolden(() => runtime, names, { logits: 1e-4, gradients: 1e-3, steps: 1e-3 });
