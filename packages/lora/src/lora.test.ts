import { describeMethod } from "@graftml/conformance";
import { lora } from "./index.ts";

describeMethod(lora, [{}, { target: "all-linear", rank: 1, alpha: 3, rslora: true }], {
  with: [lora({ target: ["mlp.down"], rank: 2 })],
});
