import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll, describe } from "vitest";
import { describeMiniLM } from "./minilm.ts";

describe("on the device", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = deviceRuntime(await requestDevice());
  });
  afterAll(() => runtime.dispose());
  describeMiniLM(() => runtime);
});
