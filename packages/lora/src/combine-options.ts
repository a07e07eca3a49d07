/** @file The keys of combining LoRAs. */
import { z } from "@graftml/peft";

/** How LoRAs are combined. */
export const combineOptions = z.object({
  how: z
    .enum(["linear", "magnitude_prune", "dare_linear", "ties", "dare_ties", "cat"])
    .default("linear")
    .describe(
      "linear: a weighted sum; magnitude_prune, dare_linear: after pruning; ties, dare_ties: the mean of the numbers with the elected sign; cat: all ranks.",
    ),
  svd: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("Combine updates instead of factors, and keep so many of their singular values."),
  density: z.number().gt(0).max(1).default(1).describe("Share of numbers that pruning keeps."),
  sign: z
    .enum(["total", "frequency"])
    .default("total")
    .describe("What elects a sign: the sum of the numbers, or how many there are of each."),
  seed: z.int().min(0).default(0).describe("Of random pruning."),
});
export type CombineOptions = z.input<typeof combineOptions>;
/** The same with defaults filled in. */
export type Combined = z.output<typeof combineOptions>;
