/** @file Auto-SNR: tensors whose gradients are mostly noise are frozen. */
import { defineMethod, z } from "@graftml/peft";
import { ranked, relativeToLargest, signalToNoise } from "./ranking.ts";
import { retrain } from "./retrain.ts";

const config = z.object({
  threshold: z.number().min(0).default(0.95).describe("Signal to noise below which a tensor is frozen for the epoch."),
  normalize: z
    .boolean()
    .default(false)
    .describe("Whether the largest is made 1 first, as in the paper's text; its code does not."),
  batches: z.int().min(1).default(5).describe("Micro-batches at the start of each epoch that it is measured on."),
});

/**
 * Trains the parameters, but those of norms, whose signal to noise, the mean of g² / var g, reaches a threshold. It is
 * measured at the start of every epoch, when the optimizer starts anew.
 * @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §4.2 and appendix B.
 */
export const autoSnr = defineMethod({
  contract: 1,
  name: "auto-snr",
  group: "specification",
  source: "https://arxiv.org/abs/2210.11466",
  config,
  adapt: () => retrain(({ roles }) => !roles.includes("norm")),
  heads: () => false,
  between: ({ threshold, normalize, batches }) =>
    ranked({
      measure: signalToNoise,
      batches,
      per: "tensor",
      rates: (measures) => (normalize ? relativeToLargest(measures) : measures).map((m) => (m < threshold ? 0 : 1)),
    }),
});
