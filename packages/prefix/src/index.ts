/** @file The public surface of @graftml/prefix. */
export { pTuning } from "./p-tuning.ts";
export { type PrefixConfig, prefix } from "./prefix.ts";
export { prompt } from "./prompt.ts";
export { npy } from "./npy.ts";
