/** @file Prefix tuning: trained keys and values that every query of every block sees before those of the text. */
import { defineMethod, type Here, normal, type Site, z, zeros } from "@graftml/peft";
import { concat, fill, reshape, shift, split, tanh, type Tensor } from "@graftml/tensor";
import { dense } from "./mlp.ts";
import { interchange } from "./prefix-interchange.ts";
import { checkRoom, positions, repeated } from "./rows.ts";
import { stackOf, stacks } from "./stacks.ts";

const config = z.object({
  tokens: z.int().min(1).default(10).describe("Rows of the prefix; PEFT's `num_virtual_tokens`."),
  reparameterize: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Hidden width of the MLP that the prefix is trained through (512 in the paper); null: keys and values are trained themselves.",
    ),
  stacks: z
    .array(z.enum(stacks))
    .min(1)
    .default(["decoder"])
    .describe(
      "Attention of an encoder-decoder that gets a prefix of its own; the only stack of other models counts as `decoder`.",
    ),
  init: z
    .enum(["random", "zero"])
    .default("random")
    .describe("Start of keys and values: normal with deviation 1 (or what the MLP makes of such rows), or zero."),
});

/** A prefix's configuration with every default filled in. */
export type PrefixConfig = z.output<typeof config>;

/**
 * Prefix tuning: keys [n, G·E] and values [n, G·E] at every attention, owned and trained, stand before those of the text, which
 * moves n positions on. Trained through an MLP they are W₂·tanh(W₁e + b₁) + b₂, where e [n, G·E] and W₁ are one for a stack
 * and each attention has its rows of W₂; only what comes out of it is exported. Even zeros take their share of the softmax, so
 * a fresh prefix is not the base.
 *
 * @see Li & Liang 2021, https://arxiv.org/abs/2101.00190, §4; PEFT `tuners/prefix_tuning`.
 */
export const prefix = defineMethod({
  contract: 1,
  name: "prefix",
  group: "addition",
  source: "https://arxiv.org/abs/2101.00190",
  config,
  adapt(c) {
    const { tokens: n, reparameterize: width } = c;
    const [zero, start] = c.init === "zero" ? [zeros, zeros] : [undefined, normal(1)];
    /** Keys and values, [n, G·E] each. */
    const rows = (here: Here<"attention">): readonly Tensor[] => {
      const { own, site, model } = here;
      const size = site.in * site.out;
      if (width === null) return [own("prefix_key", [n, size], start), own("prefix_value", [n, size], start)];
      const stack = `prefix.${stackOf(site, model)}`;
      const e = own(`${stack}.embedding.weight`, [n, size], normal(1), { shared: true });
      const hidden = tanh(dense(here, `${stack}.transform.0`, e, { out: width, shared: true }));
      return split(dense(here, "transform.2", hidden, { out: 2 * size, shared: false, init: zero }), 1, [size, size]);
    };
    const chosen = (site: Site, model: Here["model"]): boolean => c.stacks.includes(stackOf(site, model));
    return {
      attention: {
        at: chosen,
        mentions: c.stacks.map((stack) => ({
          what: `stacks "${stack}"`,
          at: (s, model) => stackOf(s, model) === stack,
        })),
        wrap(heads, next, here) {
          const { in: E, out: G } = here.site;
          const [B = 0] = heads.k.shape;
          const [k, v] = rows(here).map((x) => repeated(reshape(x, [n, G, E]), B)) as [Tensor, Tensor]; // keys and values
          const seen = (): Tensor => fill(heads.k.node.trace, [B, n], heads.packed === true ? -1 : 1);
          return next({
            ...heads,
            k: concat([k, heads.k], 1), // [B, n + S, G, E]
            v: concat([v, heads.v], 1),
            mask: heads.mask && concat([seen(), heads.mask], 1),
          });
        },
      },
      positions: positions(chosen, (ids, next, { model }) => {
        checkRoom("prefix", { own: n, all: n + (ids.shape[1] ?? 0) }, model.maxLength);
        return next(shift(ids, n));
      }),
    };
  },
  interchange,
});
