import { describeMethod, tinyBert } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { pfeiffer } from "./index.ts";

describeMethod(pfeiffer, [{ activation: "gelu", invertible: { reduction: 2 }, scaling: "channel" }], {
  models: [tinyBert()],
  except: {
    identity: "small random maps are near the identity, not at it",
    interchange: "PEFT has no bottleneck adapters",
    merge: "what is not linear folds into no weights",
  },
  runtime: async () => deviceRuntime(await requestDevice()),
});
