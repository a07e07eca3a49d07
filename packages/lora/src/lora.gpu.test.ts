import { describeMethod, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { lora } from "./index.ts";

const runtime = async () => deviceRuntime(await requestDevice());

describeMethod(lora, [{ target: "all-linear", rank: 3, dropout: 0.1, bias: "lora_only" }], { runtime });
describeMethod(lora, [{ dora: true, rank: 2 }], {
  models: [tinyLlama()],
  except: {
    slopes: "DoRA's norms are constants on the way back",
    identity: "norms are summed in another order there than on the host",
  },
  runtime,
});
describeMethod(lora, [{ rank: 2, alpha: 1, init: "pissa", fused: "split", embeddings: true }], {
  models: [tinyGpt2()],
  except: {
    merge: "the table is the head's weight too",
    unfolded: "where it started is saved with it, as ranks of their own",
  },
  runtime,
});
