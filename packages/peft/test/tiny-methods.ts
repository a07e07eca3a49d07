// Methods of every kind that tests of this package need, as small as they can be.

import { copyOf, defineMethod, normal, ones, type Target, z } from "@graftml/peft";
import { add, linear, matmul, mul, reshape, scale } from "@graftml/tensor";

const target = z.string().array();

/** y + (x aᵀ) bᵀ with PEFT's names; it may be folded. */
export const pair = defineMethod({
  contract: 1,
  name: "pair",
  group: "addition",
  source: "none",
  config: z.object({ size: z.int().min(1).default(2), target: target.default(["mlp.up"]) }),
  adapt: ({ size, target: at }) => ({
    linear: {
      at,
      wrap: (x, next, { own, site }) =>
        add(
          next(x),
          linear(linear(x, own("a.weight", [size, site.in], normal(1))), own("b", [site.out, size], normal(1))),
        ),
      merge: ({ weight, bias }, { own, site }) => ({
        weight: add(weight, matmul(own("b", [site.out, size], normal(1)), own("a.weight", [size, site.in], normal(1)))),
        bias,
      }),
    },
  }),
  interchange: {
    peftType: "PAIR",
    toConfig: ({ size, target: words }) => ({ size, target_modules: words }),
    fromConfig: (json) => ({ size: json["size"], target: json["target_modules"] }),
  },
});

/** (y · s): not PEFT's, may be folded into weight and bias alike. */
export const gain = defineMethod({
  contract: 1,
  name: "gain",
  group: "addition",
  source: "none",
  config: z.object({ target: target.default(["mlp.up"]) }),
  adapt: ({ target: at }) => ({
    linear: {
      at,
      wrap: (x, next, { own, site }) => mul(next(x), own("gain", [site.out], ones)),
      merge: ({ weight, bias }, { own, site }) => ({
        weight: mul(weight, reshape(own("gain", [site.out], ones), [site.out, 1])),
        bias: bias && mul(bias, own("gain", [site.out], ones)),
      }),
    },
  }),
});

/** A trained copy of parameters. */
export const copy = defineMethod({
  contract: 1,
  name: "copy",
  group: "addition",
  source: "none",
  config: z.object({ target: target.default(["bias"]) }),
  adapt: ({ target: at }: { target: Target }) => ({
    param: { at, wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path), { lrScale: 2, decay: false }) },
  }),
});

/** Half of every block's output: no weights can say that. */
export const halve = defineMethod({
  contract: 1,
  name: "halve",
  group: "addition",
  source: "none",
  config: z.object({}),
  adapt: () => ({ layer: { at: "block", wrap: (h, next) => scale(next(h), 0.5) } }),
});
