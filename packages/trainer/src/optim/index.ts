/** @file The optimizers of this package by the names that run files use. */
import { adamw8bit } from "./adamw-8bit.ts";
import { adamw } from "./adamw.ts";
import type { Optimizer, OptimizerSettings } from "./optimizer.ts";
import { sgd } from "./sgd.ts";

export const optimizers: Readonly<Record<string, (settings: OptimizerSettings) => Optimizer>> = {
  adamw,
  adamw_8bit: adamw8bit,
  sgd,
};
