/** @file The public surface of @graftml/ia3. */
export { ia3 as default, ia3 } from "./ia3.ts";
export type { Ia3Config } from "./config.ts";
export { tFew } from "./t-few.ts";
