/** @file BitFit: biases are trained and nothing else. */
import { copyOf, covers, defineMethod, type Mention, type ModelInfo, type Site, z, zeros } from "@graftml/peft";
import { add } from "@graftml/tensor";

/** Where the word of a user leads: a bias is meant by its own name, and by that of the module it belongs to. */
const names = (words: string | readonly string[], site: Site, model: ModelInfo): boolean =>
  words === "all" ||
  covers(words, site, model) ||
  covers(words, { ...site, path: site.path.replace(/\.bias$/, "") }, model);

/** A task's own output layer is trained whole beside the method. */
const apart = ({ roles }: Site): boolean => roles.includes("head");

/**
 * Trains biases, in place: those of linears, norms and whatever else has one. A linear that has none gets one that starts at
 * zero, unless told otherwise: an addition that a saved model has no place for, so it cannot be merged.
 *
 * @see Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199, §3; T-Few `bitfit.py` for models without biases.
 */
export const bitfit = defineMethod({
  contract: 1,
  name: "bitfit",
  group: "specification",
  source: "https://arxiv.org/abs/2106.10199",
  config: z.object({
    biases: z
      .union([z.literal("all"), z.array(z.string()).min(1)])
      .default("all")
      .describe("Biases to train: `all`, or roles (`attn.q`, `mlp.up`, `norm`) and names of modules."),
    add: z.boolean().default(true).describe("Give linears without a bias one that starts at zero; false: leave them."),
  }),
  adapt({ biases, add: adding }) {
    const mentions = (biases === "all" ? [] : biases).map((word): Mention => ({
      what: `biases "${word}"`,
      at: (site, model) => names([word], site, model),
    }));
    return {
      param: {
        at: (site, model) => site.roles.includes("bias") && !apart(site) && names(biases, site, model),
        optional: true,
        mentions,
        wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)),
      },
      ...(adding && {
        linear: {
          at: (site, model) =>
            !site.bias && !apart(site) && !site.roles.includes("unembed") && names(biases, site, model),
          optional: true,
          mentions,
          wrap: (x, next, { own, site }) => add(next(x), own("bias", [site.out], zeros)),
        },
      }),
    };
  },
});
