/** @file Fine-tuning the top of a model only. */
import { defineMethod, type ModelInfo, type Site, z } from "@graftml/peft";
import { checkBlocks, isHead } from "./places.ts";
import { retrain } from "./retrain.ts";

/** Whether a site is in the last blocks. */
function isTop({ layer }: Site, model: ModelInfo, count: number): boolean {
  checkBlocks(`top.layers is ${count}`, count, model);
  return layer !== null && layer >= model.layers - count;
}

/**
 * Trains the last blocks and nothing else; with `head` the final norm, the pooler and the head too. Nothing is computed on the way back
 * below the lowest trained block.
 * @see Lee et al. 2019, https://arxiv.org/abs/1911.03090.
 */
export const top = defineMethod({
  contract: 1,
  name: "top",
  group: "specification",
  source: "https://arxiv.org/abs/1911.03090",
  config: z.object({
    layers: z.int().min(1).default(2).describe("How many of the last blocks to train."),
    head: z
      .boolean()
      .nullable()
      .default(null)
      .describe(
        "Whether to train what follows the blocks: final norm, pooler, head. null: a classification head only.",
      ),
  }),
  heads: ({ head }) => head === null,
  adapt: ({ layers, head }) => retrain((site, model) => isTop(site, model, layers) || (head === true && isHead(site))),
});
