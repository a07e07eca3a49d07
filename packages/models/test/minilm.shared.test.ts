import { hostRuntime } from "@graftml/tensor";
import { describe } from "vitest";
import { describeMiniLM } from "./minilm.ts";

describe("on the interpreter", () => {
  const runtime = hostRuntime();
  describeMiniLM(() => runtime);
});
