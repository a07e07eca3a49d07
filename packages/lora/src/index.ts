/** @file The public surface of @graftml/lora. */
export { adalora, type AdaloraConfig } from "./adalora.ts";
export { combine } from "./combined.ts";
export type { CombineOptions } from "./combine-options.ts";
export type { LoraConfig } from "./config.ts";
export { lora as default, lora } from "./lora.ts";
export { mlx } from "./mlx.ts";
