/** @file Bottleneck adapters: small trained maps beside the sublayers of a frozen model. */
import { type Adaptation, copyOf, defineMethod, type Residual } from "@graftml/peft";
import { add, type Tensor } from "@graftml/tensor";
import { bottleneck } from "./bottleneck.ts";
import { type AdapterConfig, keys, leftOut, mentions, type Width, widthAt, widthOf, widths } from "./config.ts";
import { invertible } from "./invertible.ts";

/** What makes a kind of bottleneck adapter: its width where none is given, and what it looks at. */
interface Kind {
  readonly width: Partial<Width>;
  readonly input: (residual: Residual) => Tensor;
}

/** branch += f(input), before the model's own add and norm. */
const beside =
  ({ width, input }: Kind) =>
  (c: AdapterConfig): Adaptation => ({
    residual: {
      at: c.at,
      exclude: (site, model) => leftOut(c, site, model),
      mentions: mentions(c),
      wrap(r, next, here) {
        const change = bottleneck(input(r), widthAt(widthOf(c, width), here.site, here.model), c, here);
        return next({ ...r, branch: add(r.branch, change) });
      },
    },
    ...(c.train_norms && {
      param: { at: ["norm"], wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)) },
    }),
    ...invertible(c),
  });

/**
 * After attention and after the feed-forward, on the sublayer's output: h + f(h). Near the identity at the start; norms are
 * trained too.
 * @see Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, §2.1; adapter-bert; AdapterHub `DoubleSeqBnConfig`.
 */
export const houlsby = defineMethod({
  contract: 1,
  name: "houlsby",
  group: "addition",
  source: "https://arxiv.org/abs/1902.00751",
  config: keys({
    activation: "gelu",
    scaling: 1,
    init: "houlsby",
    at: ["attn", "mlp"],
    train_norms: true,
    width: "a size of 64",
  }),
  adapt: beside({ width: widths.houlsby, input: (r) => r.branch }),
});

/**
 * After the feed-forward only, on what its add and norm make of it: h + f(norm(skip + h)).
 * @see Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247, §3.1; AdapterHub `SeqBnConfig`.
 */
export const pfeiffer = defineMethod({
  contract: 1,
  name: "pfeiffer",
  group: "addition",
  source: "https://arxiv.org/abs/2005.00247",
  config: keys({ activation: "relu", scaling: 1, init: "bert", at: ["mlp"], train_norms: false, width: "16" }),
  adapt: beside({
    width: widths.pfeiffer,
    input: ({ skip, branch, norm }) => (norm ?? ((h: Tensor) => h))(add(skip, branch)),
  }),
});

/**
 * Beside the feed-forward, on what enters its add: h + s·f(skip). Starts as the base, to the bit.
 * @see He et al. 2021, https://arxiv.org/abs/2110.04366, §4.6; AdapterHub `ParBnConfig`.
 */
export const parallel = defineMethod({
  contract: 1,
  name: "parallel",
  group: "addition",
  source: "https://arxiv.org/abs/2110.04366",
  config: keys({ activation: "relu", scaling: 4, init: "mam", at: ["mlp"], train_norms: false, width: "2" }),
  adapt: beside({ width: widths.parallel, input: (r) => r.skip }),
});
