/** @file Auto-RGN: every tensor learns at a rate that its relative gradient norm sets. */
import { defineMethod, z } from "@graftml/peft";
import { ranked, relativeNorm, relativeToLargest } from "./ranking.ts";
import { retrain } from "./retrain.ts";

const config = z.object({
  per: z
    .enum(["tensor", "layer"])
    .default("tensor")
    .describe("What has a rate of its own: a tensor, or a whole block."),
  batches: z.int().min(1).default(5).describe("Micro-batches at the start of each epoch that rates are measured on."),
});

/**
 * Trains every parameter but those of norms, each at lr · RGN / max RGN with RGN = mean ‖g‖ / ‖θ‖, measured at the start of
 * every epoch, when the optimizer starts anew. What is still zero (the bias of a fresh head) learns at the full rate.
 * @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §4.2; a tensor has its own rate as in its code, a block as in its text.
 */
export const autoRgn = defineMethod({
  contract: 1,
  name: "auto-rgn",
  group: "specification",
  source: "https://arxiv.org/abs/2210.11466",
  config,
  adapt: () => retrain(({ roles }) => !roles.includes("norm")),
  heads: () => false,
  between: ({ per, batches }) => ranked({ measure: relativeNorm, batches, per, rates: relativeToLargest }),
});
