/** @file The public surface of this package. */
export { methodTemplate } from "./method-template.ts";
