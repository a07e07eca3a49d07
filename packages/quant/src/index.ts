/** @file The public surface of @graftml/quant. */
export { bitsandbytes } from "./bitsandbytes.ts";
export { encodingOf, quantConfig, type QuantConfig } from "./format.ts";
export { quant as default, quant } from "./quant.ts";
export { quantize, type Quantized } from "./quantize.ts";
export { bitsandbytesWriter } from "./writer.ts";
