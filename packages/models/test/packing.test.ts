import { hostRuntime } from "@graftml/tensor";
import { describePacking } from "./packing-cases.ts";

const runtime = hostRuntime();
describePacking(() => runtime, ["llama", "gpt2"], 1e-12);
