/** @file The method: outputs of linears, multiplied by factors that are learned. */
import { defineMethod, type Here, ones, z } from "@graftml/peft";
import { mul, reshape, type Tensor } from "@graftml/tensor";

/** One factor for each output, [out]. */
const factors = ({ own, site }: Here<"linear">): Tensor => own("scale", [site.out], ones);

/**
 * y = s ⊙ (Wx + b), with s starting at one, so that a fresh adapter changes nothing.
 * @see Liu et al. 2022, https://arxiv.org/abs/2205.05638, §3.3, for what to replace this with: your own formula and paper.
 */
export const methodTemplate = defineMethod({
  contract: 1,
  name: "method-template",
  group: "addition",
  source: "https://arxiv.org/abs/2205.05638",
  config: z.object({
    target: z
      .union([z.string(), z.array(z.string())])
      .default(["attn.v"])
      .describe("Linears whose outputs are scaled: roles, ends of names, or all-linear."),
  }),
  adapt: ({ target }) => ({
    linear: {
      at: target,
      wrap: (x, next, here) => mul(next(x), factors(here)),
      merge: ({ weight, bias }, here) => ({
        weight: mul(weight, reshape(factors(here), [here.site.out, 1])),
        bias: bias && mul(bias, factors(here)),
      }),
    },
  }),
});
