/** @file What a run computes in, and what is said of it. */
import type { Precision } from "@graftml/tensor";
import type { Run } from "./schema.ts";

/** What linear layers read their input in. WebGPU has no bf16; f32 holds all of its numbers. */
export const precisionOf = ({ train }: Run): Precision => (train.precision === "f16" ? "f16" : "f32");

/** What a user should know of it: nothing where it is the default. */
export const precisionLine = ({ train: { precision } }: Run): string | undefined =>
  ({
    f32: undefined,
    f16: "linear layers read f16; all else, sums and gradients too, is f32",
    bf16: "f32: WebGPU has no bf16 (train.precision)",
  })[precision];
