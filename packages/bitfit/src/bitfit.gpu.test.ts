import { describeMethod, tinyBert, tinyLlama } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { bitfit, randomSubset } from "./index.ts";

const runtime = async () => deviceRuntime(await requestDevice());

describeMethod(bitfit, [{ biases: ["attn.q", "mlp.up"] }], {
  models: [tinyBert()],
  except: {
    seed: "a bias starts as the original, whatever the seed",
    interchange: "PEFT has no files for trained biases",
    stack: "the outer copy would take the place of the inner one",
  },
  runtime,
});
describeMethod(randomSubset, [{ fraction: 0.2 }], {
  models: [tinyLlama()],
  except: {
    seed: "what is added starts at zero, whatever the seed",
    interchange: "PEFT's SHiRA knows nothing of parameters other than linears'",
    mix: "rows of a batch share the parameters",
  },
  runtime,
});
