import { describeMethod, tinyLlama } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { prefix, prompt } from "./index.ts";

const on = {
  models: [tinyLlama()],
  except: {
    identity: "the text attends to the rows before it",
    merge: "rows before a text are no weights",
  },
  runtime: async () => deviceRuntime(await requestDevice()),
};

describeMethod(prefix, [{ tokens: 3 }], { ...on, lr: 0.2 });
describeMethod(prompt, [{ tokens: 3 }], { ...on, lr: 0.05 });
