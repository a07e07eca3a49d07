/** @file The public surface of @graftml/surgical. */
export { full } from "./full.ts";
export { top } from "./top.ts";
