import { hostRuntime } from "@graftml/tensor";
import { describeGolden } from "./golden-cases.ts";
import { decoders, encoders, judges, relatives, seq2seq } from "./golden.ts";

const runtime = hostRuntime();
// The interpreter computes in f64: what is left are f32 inside transformers, and the digits written down.
describeGolden(() => runtime, [...decoders, ...relatives, ...judges, ...seq2seq, ...encoders], {
  logits: 1e-5,
  gradients: 1e-4,
  steps: 1e-4,
});
