import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll, describe } from "vitest";
import { describeReference } from "./reference.ts";

describe("on the device", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = deviceRuntime(await requestDevice());
  });
  afterAll(() => runtime.dispose());
  describeReference(() => runtime);
});
