/** @file The public surface of @graftml/conformance. */
export { randomBase } from "./base.ts";
export { configTable } from "./config-table.ts";
export { describeMethod, type DescribeOptions } from "./describe-method.ts";
export { expectGoldenSteps, goldenBase, type GoldenRecord, goldenSizes, type GoldenSteps } from "./golden.ts";
export { tinyGpt2, tinyLlama } from "./models.ts";
export { type Sizes, tiny } from "./parts.ts";
export { distance, type Exception } from "./property.ts";
export {
  type Attached,
  fit,
  type Fitted,
  gradients,
  type Gradients,
  logits,
  type Rig,
  shaken,
  started,
} from "./rig.ts";
export { tinyBert } from "./tiny-bert.ts";
export { tinyT5 } from "./tiny-t5.ts";
