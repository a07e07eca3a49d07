import { defineMethod, type Here, ones, z } from "@graftml/peft";
import { mul, reshape, type Tensor } from "@graftml/tensor";

/** (IA)³: keys, values and the feed-forward's inner activation are multiplied by learned factors that start at one. */
export const ia3 = defineMethod({
  contract: 1,
  name: "ia3",
  group: "addition",
  source: "https://arxiv.org/abs/2205.05638",
  config: z.object({
    target: z.array(z.string()).default(["attn.k", "attn.v"]).describe("maps whose outputs are scaled"),
    feedforward: z.array(z.string()).default(["mlp.down"]).describe("maps whose inputs are scaled"),
  }),
  adapt({ target, feedforward }) {
    const inner = ({ site }: Here<"linear">): boolean => feedforward.some((role) => site.roles.includes(role));
    const factors = (here: Here<"linear">): Tensor =>
      inner(here)
        ? here.own("ia3_l", [1, here.site.in], ones) // scales columns of the weight
        : here.own("ia3_l", [here.site.out, 1], ones); // scales its rows
    return {
      linear: {
        at: [...target, ...feedforward],
        wrap: (x, next, here) =>
          inner(here) ? next(mul(x, factors(here))) : mul(next(x), reshape(factors(here), [here.site.out])),
        merge: ({ weight, bias }, here) => ({
          weight: mul(weight, factors(here)),
          bias: bias === null || inner(here) ? bias : mul(bias, reshape(factors(here), [here.site.out])),
        }),
      },
    };
  },
});
