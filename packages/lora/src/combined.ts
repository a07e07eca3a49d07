/** @file Combining LoRAs, for programs. */
import type { Loaded, Model } from "@graftml/peft";
import type { CombineOptions } from "./combine-options.ts";
import { combineBy } from "./combine.ts";
import { lora } from "./lora.ts";

/**
 * One LoRA for several, with weights that may be negative. Places that not all of them adapt are combined from those that do.
 * @throws {ConfigError} for adapters that are no LoRAs, that change more than A and B tell (DoRA, biases), or whose ranks differ
 *   where factors are summed.
 */
export const combine = <Batch>(
  model: Model<Batch>,
  adapters: readonly Loaded[],
  weights: readonly number[],
  options: CombineOptions,
): Loaded => combineBy(lora, model, adapters, weights, options);
