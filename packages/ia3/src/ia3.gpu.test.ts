import { describeMethod, tinyGpt2 } from "@graftml/conformance";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { ia3 } from "./index.ts";

describeMethod(ia3, [{}], {
  models: [tinyGpt2()],
  except: { seed: "factors start at one, whatever the seed" },
  runtime: async () => deviceRuntime(await requestDevice()),
});
