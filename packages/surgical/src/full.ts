/** @file Full fine-tuning: every parameter is trained. */
import { defineMethod, z } from "@graftml/peft";
import { retrain } from "./retrain.ts";

/**
 * Trains every parameter of the base: what all other methods are measured against, and how a model is trained from random
 * weights. A parameter that serves two places (a tied head) is one.
 * @see Howard & Ruder 2018, https://arxiv.org/abs/1801.06146.
 */
export const full = defineMethod({
  contract: 1,
  name: "full",
  group: "specification",
  source: "https://arxiv.org/abs/1801.06146",
  config: z.object({}),
  adapt: () => retrain("*"),
  heads: () => false, // they are parameters like all others
});
