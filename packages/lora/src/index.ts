/** @file The public surface of @graftml/lora. */
export { lora as default, lora } from "./lora.ts";
export type { LoraConfig } from "./config.ts";
