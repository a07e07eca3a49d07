import { describeMethod, tinyGpt2 } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { full } from "./index.ts";

describeMethod(full, [{}], {
  models: [tinyGpt2()],
  except: {
    seed: "a copy starts as the original, whatever the seed",
    interchange: "PEFT has no files for trained base weights",
    mix: "rows of a batch share the parameters of norms",
    stack: "the outer copy would take the place of the inner one",
  },
  runtime: async () => deviceRuntime(await requestDevice()),
});
