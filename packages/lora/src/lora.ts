/** @file LoRA: frozen weights with a trained low-rank update, W + s·BA. */

import { copyOf, defineMethod, type Here, kaimingUniform, normal, zeros } from "@graftml/peft";
import { add, dropout, linear, matmul, scale, sub, type Tensor } from "@graftml/tensor";
import { config, leftOut, mentions, rankAt, scaleAt } from "./config.ts";
import { interchange } from "./interchange.ts";

/**
 * Low-rank adaptation: y = Wx + b + s·B·A·dropout(x), with s = α/r, or α/√r (rsLoRA). A [r, in] starts random, B [out, r] at
 * zero, so a fresh adapter changes nothing. Everything can be folded into the weights.
 *
 * @see Hu et al. 2021, https://arxiv.org/abs/2106.09685, §4.1; Kalajdzievski 2023, https://arxiv.org/abs/2312.03732 (rsLoRA).
 */
export const lora = defineMethod({
  contract: 1,
  name: "lora",
  group: "reparameterization",
  source: "https://arxiv.org/abs/2106.09685",
  config,
  adapt(c) {
    type At = Here<"linear">;
    const A = ({ own, site }: At): Tensor =>
      own(
        "lora_A.weight",
        [rankAt(c, site), site.in],
        c.init === "gaussian" ? normal(1 / rankAt(c, site)) : kaimingUniform,
      );
    const B = ({ own, site }: At): Tensor => own("lora_B.weight", [site.out, rankAt(c, site)], zeros);
    /** What training adds to the bias: zero at the start, to the bit. */
    const biasChange = ({ own, site, bias }: At): Tensor | null => {
      const stored = c.bias === "lora_only" ? bias() : null;
      return stored && sub(own("bias", [site.out], copyOf(`${site.path}.bias`)), stored);
    };
    return {
      linear: {
        at: c.target,
        exclude: (site, model) => leftOut(c, site, model),
        mentions: mentions(c),
        wrap(x, next, here) {
          const input = here.train ? dropout(x, c.dropout, () => here.uniform("lora_dropout", x.shape)) : x;
          const update = linear(scale(linear(input, A(here)), scaleAt(c, here.site)), B(here));
          const change = biasChange(here);
          return add(next(x), change === null ? update : add(update, change));
        },
        merge({ weight, bias }, here) {
          const change = biasChange(here);
          return {
            weight: add(weight, scale(matmul(B(here), A(here)), scaleAt(c, here.site))),
            bias: bias && change ? add(bias, change) : bias,
          };
        },
      },
      ...(c.bias === "all" && {
        param: {
          at: (site) => site.path.endsWith(".bias"),
          wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)),
        },
      }),
    };
  },
  interchange,
});
