/** @file Surgical fine-tuning by hand: the blocks that are named. */
import { defineMethod, type ModelInfo, type Site, z } from "@graftml/peft";
import { checkBlocks, isHead } from "./places.ts";
import { retrain } from "./retrain.ts";

const config = z.object({
  blocks: z
    .array(z.union([z.int().min(0), z.enum(["embeddings", "head"])]))
    .min(1)
    .default([0])
    .describe("What to train: numbers of blocks, the embeddings before them, the head after them."),
});
type Config = z.output<typeof config>;

function isChosen(site: Site, model: ModelInfo, { blocks }: Config): boolean {
  for (const block of blocks)
    if (typeof block === "number") checkBlocks(`blocks.blocks names block ${block}`, block + 1, model);
  if (site.layer !== null) return blocks.includes(site.layer);
  return blocks.includes(isHead(site) ? "head" : "embeddings");
}

/**
 * Trains any blocks and nothing else: the first for a shift of the inputs, a middle one for a shift of features, the last for
 * a shift of labels. Which is best is found by trying each.
 * @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §3.
 */
export const blocks = defineMethod({
  contract: 1,
  name: "blocks",
  group: "specification",
  source: "https://arxiv.org/abs/2210.11466",
  config,
  adapt: (c) => retrain((site, model) => isChosen(site, model, c)),
  // A classification head that starts from nothing is trained whatever blocks are.
  heads: (c) => !c.blocks.includes("head"),
});
