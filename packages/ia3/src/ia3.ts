/** @file (IA)³: activations multiplied by learned factors, and nothing else. */
import { covers, defineMethod, type Here, type Mention, ones } from "@graftml/peft";
import { mul, reshape, type Tensor } from "@graftml/tensor";
import { config, type Ia3Config, scales, scalesInput } from "./config.ts";
import { interchange } from "./interchange.ts";

/**
 * Infused adapter by inhibiting and amplifying inner activations: keys and values become l ⊙ Wx, what enters the
 * feed-forward's last map l ⊙ x. The factors start at one, so a fresh adapter changes nothing, and fold into the weights:
 * they scale rows of W (and the bias), or its columns.
 *
 * @see Liu et al. 2022, https://arxiv.org/abs/2205.05638, §3.3.
 */
export const ia3 = defineMethod({
  contract: 1,
  name: "ia3",
  group: "addition",
  source: "https://arxiv.org/abs/2205.05638",
  config,
  adapt(c) {
    const inward = ({ site, model }: Here<"linear">): boolean => scalesInput(c, site, model);
    const factors = (here: Here<"linear">): Tensor =>
      here.own("ia3_l", inward(here) ? [1, here.site.in] : [here.site.out, 1], ones);
    const rows = (here: Here<"linear">): Tensor => reshape(factors(here), [here.site.out]);
    return {
      linear: {
        at: c.target ?? ((site, model) => scales(c, site, model)),
        exclude: (site, model) => covers(c.exclude, site, model),
        mentions: mentions(c),
        wrap: (x, next, here) => (inward(here) ? next(mul(x, factors(here))) : mul(next(x), rows(here))),
        merge: ({ weight, bias }, here) => ({
          weight: mul(weight, factors(here)),
          bias: bias && !inward(here) ? mul(bias, rows(here)) : bias,
        }),
      },
    };
  },
  interchange,
});

/** What the configuration names besides its target: each word must name a linear of it. */
function mentions({ feedforward, exclude }: Ia3Config): Mention[] {
  const words = (key: string, target: string | readonly string[]): Mention[] =>
    typeof target === "string"
      ? [{ what: `${key} "${target}"`, at: target }]
      : target.map((word) => ({ what: `${key} "${word}"`, at: [word] }));
  return [...words("feedforward", feedforward ?? []), ...words("exclude", exclude)];
}
