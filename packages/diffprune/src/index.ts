/** @file The public surface of @graftml/diffprune. */
export { diffprune } from "./diffprune.ts";
