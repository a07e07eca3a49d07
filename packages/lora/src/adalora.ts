/** @file AdaLoRA: an update in the form of singular values, of which a shrinking budget keeps the most important. */
import {
  ConfigError,
  defineMethod,
  type Here,
  type Init,
  type ModelInfo,
  normal,
  ones,
  type OwnOptions,
  z,
  zeros,
} from "@graftml/peft";
import {
  add,
  dropout,
  linear,
  matmul,
  mul,
  scale,
  type Shape,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
} from "@graftml/tensor";
import { interchange } from "./adalora-interchange.ts";
import { allocation, isOpen } from "./allocation.ts";
import { config as loraConfig, leftOut, mentions } from "./config.ts";

const { alpha, dropout: rate, target, exclude, layers } = loraConfig.shape;

const config = z.object({
  rank: z.int().min(1).default(12).describe("Rank at the start, of every linear; PEFT's `init_r`."),
  target_rank: z.int().min(1).default(8).describe("Rank at the end, on average; PEFT's `target_r`."),
  alpha: alpha.describe("The update is multiplied by alpha / rank; PEFT's `lora_alpha`."),
  dropout: rate,
  target,
  exclude,
  layers,
  warmup: z.int().min(0).default(0).describe("Steps before the budget shrinks; PEFT's `tinit`."),
  cooldown: z.int().min(0).default(0).describe("Steps at the end, with the last budget; PEFT's `tfinal`."),
  every: z.int().min(1).default(1).describe("Steps from one allocation to the next; PEFT's `deltaT`."),
  beta1: z.number().gt(0).lt(1).default(0.85).describe("Smoothing of the importance of every number."),
  beta2: z.number().gt(0).lt(1).default(0.85).describe("Smoothing of how much that importance varies."),
  orthogonality: z
    .number()
    .min(0)
    .default(0.5)
    .describe("Weight of the penalty that keeps A's rows and B's columns orthonormal; PEFT's `orth_reg_weight`."),
  ranks: z
    .record(z.string(), z.int().min(0))
    .default({})
    .describe("What a budget that is spent has left, by paths; nothing is allocated any more then. Files say so."),
});

/** An AdaLoRA's configuration with every default filled in. */
export type AdaloraConfig = z.output<typeof config>;

/**
 * AdaLoRA: y = Wx + b + α/r·B·(A⊙λ)·dropout(x), with λ [r, 1] at zero, A [r, in] and B [out, r] random and kept near
 * orthonormal by the mean of ‖AAᵀ − I‖ and ‖BᵀB − I‖ over all linears as a penalty. From `warmup` on the numbers λ of least
 * importance are set to zero, more of them every time, until `target_rank` for each linear is left.
 *
 * @see Zhang et al. 2023, https://arxiv.org/abs/2303.10512, §3 and algorithm 1; PEFT `tuners/adalora`.
 */
export const adalora = defineMethod({
  contract: 1,
  name: "adalora",
  group: "reparameterization",
  source: "https://arxiv.org/abs/2303.10512",
  config,
  adapt(c) {
    type At = Here<"linear">;
    if (c.target_rank > c.rank)
      throw new ConfigError(`adalora.target_rank is ${c.target_rank}; it starts with rank ${c.rank}, which is less.`);
    const places = new WeakMap<ModelInfo, Set<string>>();
    const remembered: OwnOptions = { trainable: false, persist: "run" };
    /** A, B and λ, and what the budget remembers of them. */
    const factors = ({ own, site }: At) => {
      const r = c.ranks[site.path] ?? c.rank;
      const open = isOpen(c);
      const factor = (name: string, shape: Shape, init: Init): Tensor => {
        for (const fact of open ? ["importance", "uncertainty"] : []) own(`${name}.${fact}`, shape, zeros, remembered);
        return own(name, shape, init);
      };
      if (open) own("lora_E.kept", [r, 1], ones, remembered);
      return {
        A: factor("lora_A", [r, site.in], normal(0.02)),
        B: factor("lora_B", [site.out, r], normal(0.02)),
        values: factor("lora_E", [r, 1], zeros),
      };
    };
    // PEFT divides by a little more than the rank.
    const s = (c.alpha > 0 ? c.alpha : c.rank) / (c.rank + 1e-5);
    /** ‖P Pᵀ − I‖ and ‖QᵀQ − I‖ of this linear. */
    const crookedness = ({ A, B }: ReturnType<typeof factors>): Tensor => {
      const [r = 0] = A.shape;
      const one = A.node.trace.constant(`identity ${r}`, [r, r], () =>
        Float32Array.from({ length: r * r }, (_, i) => (i % (r + 1) === 0 ? 1 : 0)),
      );
      const apart = (product: Tensor): Tensor => sqrt(sum(square(sub(product, one))));
      return add(apart(matmul(A, A, "nt")), apart(matmul(B, B, "tn")));
    };
    return {
      linear: {
        at: c.target,
        exclude: (site, model) => c.ranks[site.path] === 0 || leftOut(c, site, model),
        mentions: mentions({ ...c, rank_pattern: {}, alpha_pattern: {} }),
        wrap(x, next, here) {
          const found = factors(here);
          const met = places.get(here.model) ?? new Set();
          places.set(here.model, met.add(here.site.path));
          if (here.train && c.orthogonality > 0) {
            // A mean over all linears, which are known once all have been met.
            const share = here.scalar("orthogonality", () => c.orthogonality / (2 * met.size));
            here.penalize(mul(crookedness(found), share));
          }
          const input = here.train ? dropout(x, c.dropout, () => here.uniform("lora_dropout", x.shape)) : x;
          return add(next(x), linear(scale(linear(input, mul(found.A, found.values)), s), found.B));
        },
        merge({ weight, bias }, here) {
          const { A, B, values } = factors(here);
          return { weight: add(weight, scale(matmul(B, mul(A, values)), s)), bias };
        },
      },
    };
  },
  between: (c) => allocation(c),
  interchange,
});
