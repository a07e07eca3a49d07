/** @file The public surface of @graftml/surgical. */
export { autoRgn } from "./auto-rgn.ts";
export { autoSnr } from "./auto-snr.ts";
export { blocks } from "./blocks.ts";
export { full } from "./full.ts";
export { top } from "./top.ts";
