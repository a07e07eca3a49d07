/** @file The optimizers of this package by the names that run files use. */
import { adamw } from "./adamw.ts";
import type { Optimizer, OptimizerSettings } from "./optimizer.ts";
import { sgd } from "./sgd.ts";

export const optimizers: Readonly<Record<string, (settings: OptimizerSettings) => Optimizer>> = { adamw, sgd };
