/** @file Fine-tuning the top of a model only. */
import { ConfigError, defineMethod, type ModelInfo, type Site, z } from "@graftml/peft";
import { retrain } from "./retrain.ts";

/** Parameters after the blocks: the last norm, a pooler, and the head, which may be one with the token table. */
const isHead = ({ layer, roles }: Site): boolean =>
  layer === null &&
  (["unembed", "head", "pooler"].some((role) => roles.includes(role)) ||
    (roles.includes("norm") && !roles.includes("embed")));

/** Whether a site is in the last blocks. */
function isTop({ layer }: Site, { layers }: ModelInfo, count: number): boolean {
  if (count > layers) throw new ConfigError(`top.layers is ${count}; this model has ${layers} blocks.`);
  return layer !== null && layer >= layers - count;
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
