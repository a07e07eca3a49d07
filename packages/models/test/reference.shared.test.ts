import { hostRuntime } from "@graftml/tensor";
import { describe } from "vitest";
import { describeReference } from "./reference.ts";

describe("on the interpreter", () => {
  const runtime = hostRuntime();
  describeReference(() => runtime);
});
