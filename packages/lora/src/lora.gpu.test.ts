import { describeMethod } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { lora } from "./index.ts";

describeMethod(lora, [{ target: "all-linear", rank: 3, dropout: 0.1, bias: "lora_only" }], {
  runtime: async () => deviceRuntime(await requestDevice()),
});
