import { hostRuntime } from "@graftml/tensor";
import { describeGolden } from "./golden-cases.ts";
import { cases } from "./golden.ts";

const runtime = hostRuntime();
// The interpreter computes in f64: what is left is torch's own rounding, and that of the seven digits written down.
describeGolden(() => runtime, cases, { logits: 1e-5, gradients: 1e-4 });
