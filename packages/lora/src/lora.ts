/** @file LoRA: frozen weights with a trained low-rank update, W + s·BA, and what has grown from it. */

import {
  copyOf,
  defineMethod,
  type Here,
  inF32,
  type Init,
  type Mention,
  normal,
  NotMergeable,
  zeros,
} from "@graftml/peft";
import {
  add,
  concat,
  detach,
  div,
  dropout,
  fill,
  gather,
  linear,
  mul,
  reshape,
  scale,
  shift,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  transpose,
} from "@graftml/tensor";
import { combineOptions } from "./combine-options.ts";
import { combineBy } from "./combine.ts";
import { config, leftOut, mentions, rankAt, scaleAt } from "./config.ts";
import { interchange } from "./interchange.ts";
import { updateAt } from "./update.ts";

/**
 * Low-rank adaptation: y = Wx + b + s·B·A·dropout(x), with s = α/r, or α/√r (rsLoRA). A [r, in] starts random, B [out, r] at
 * zero, so a fresh adapter changes nothing. All of it can be folded into the weights.
 *
 * DoRA: y = g⊙(Wx + s·B·A·dropout(x)) + b with g = m / ‖W + s·BA‖, the norm of every row, a constant on the way back; m
 * starts as ‖W‖. PiSSA and OLoRA: A and B start as factors of W, and y = Wx + b + s·B·A·x − s·B₀·A₀·x, which is what a base
 * less its factors would give. A table of tokens: row t is f·(E[t] + s·B·A[:, t]), A [r, V] at zero and B [D, r] random, f what
 * the model multiplies rows by.
 *
 * @see Hu et al. 2021, https://arxiv.org/abs/2106.09685, §4.1; Kalajdzievski 2023, https://arxiv.org/abs/2312.03732 (rsLoRA);
 * Liu et al. 2024, https://arxiv.org/abs/2402.09353, §4 (DoRA); Meng et al. 2024, https://arxiv.org/abs/2404.02948 (PiSSA);
 * Büyükakyüz 2024, https://arxiv.org/abs/2406.01775 (OLoRA); Hayou et al. 2024, https://arxiv.org/abs/2402.12354 (LoRA+).
 */
export const lora = defineMethod({
  contract: 1,
  name: "lora",
  group: "reparameterization",
  source: "https://arxiv.org/abs/2106.09685",
  config,
  adapt(c) {
    type At = Here<"linear">;
    /** What training adds to the bias: zero at the start, to the bit. */
    const biasChange = ({ own, site, bias }: At): Tensor | null => {
      const stored = c.bias === "lora_only" ? bias() : null;
      return stored && sub(own("bias", [site.out], copyOf(`${site.path}.bias`)), stored);
    };
    /** DoRA's g, [out]. */
    const gain = ({ own, site, weight }: At, update: Tensor): Tensor => {
      const m = own("lora_magnitude_vector", [site.out], rowLengths(site.weight), { lrScale: c.lr_ratio });
      return div(m, detach(sqrt(sum(square(add(inF32(weight()), update)), [1]))));
    };
    /** Of a table's update s·(BA)ᵀ the factors Aᵀ [V, r] and B [D, r]. */
    const tableFactors = ({ own, site }: Here<"embedding">): readonly [Tensor, Tensor] => {
      const r = rankAt(c, site);
      const A = own("lora_embedding_A", [r, site.in], zeros);
      return [transpose(A, [1, 0]), own("lora_embedding_B", [site.out, r], normal(1))];
    };
    const words = [c.target].flat();
    return {
      ...(words.length > 0 && {
        linear: {
          at: c.target,
          exclude: (site, model) => leftOut(c, site, model),
          // With tables, a pattern may be meant for those: what is mentioned is then looked for in both.
          optional: c.embeddings,
          mentions: [...mentions(c), ...(c.embeddings ? words.map(mention) : [])],
          wrap(x, next, here) {
            const drops = here.train && c.dropout > 0;
            const input = drops ? dropout(x, c.dropout, () => here.uniform("lora_dropout", x.shape)) : x;
            const { times, matrix, bias } = updateAt(c, here);
            const update = bias === null ? times(input, x) : add(times(input, x), bias);
            const base = next(x);
            const y = added(base, biasChange(here));
            if (!c.dora) return add(y, update);
            const g = gain(here, matrix());
            const b = here.bias();
            const through = drops ? next(input) : base; // W·dropout(x) + b
            const wx = b === null ? through : sub(through, inF32(b));
            return add(add(y, mul(shift(g, -1), wx)), mul(g, update));
          },
          merge({ weight, bias }, here) {
            const update = updateAt(c, here);
            const change = biasChange(here);
            if (update.bias && bias === null)
              throw new NotMergeable(
                `lora cannot be merged at ${here.site.path}: it has a bias of its own (lora_bias), and the linear has none to hold it.`,
              );
            const shifted = bias && added(added(bias, change), update.bias);
            if (!c.dora) return { weight: add(weight, update.matrix()), bias: shifted };
            const g = gain(here, update.matrix());
            const b = here.bias();
            return {
              weight: mul(reshape(g, [here.site.out, 1]), add(weight, update.matrix())),
              // What inner methods made of the bias grows as it does attached; the base's own does not.
              bias: bias && b && shifted && add(shifted, mul(shift(g, -1), sub(bias, inF32(b)))),
            };
          },
        },
      }),
      ...(c.embeddings && {
        embedding: {
          at: ["embed"],
          optional: true,
          wrap(ids, next, here) {
            const [A, B] = tableFactors(here);
            const y = next(ids); // [B, T', D]
            const update = linear(scale(gather(A, ids), scaleAt(c, here.site) * here.site.factor), B); // [B, T, D]
            return add(y, behind(update, y));
          },
          merge(table, here) {
            const [A, B] = tableFactors(here);
            return add(table, linear(scale(A, scaleAt(c, here.site)), B));
          },
        },
      }),
      ...(c.bias === "all" && {
        param: {
          at: (site) => site.path.endsWith(".bias"),
          wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)),
        },
      }),
    };
  },
  interchange,
  combining: {
    options: combineOptions,
    combine: combineBy,
  },
});

/** A word of the target, which must name something. */
const mention = (word: string): Mention => ({ what: `"${word}"`, at: word });

const added = (x: Tensor, y: Tensor | null): Tensor => (y === null ? x : add(x, y));

/** x [B, T, D] for the last rows of y [B, T', D], zeros for those before. */
function behind(x: Tensor, y: Tensor): Tensor {
  const [B = 0, T = 0, D = 0] = x.shape;
  const before = (y.shape[1] ?? T) - T;
  return before === 0 ? x : concat([fill(x.node.trace, [B, before, D], 0), x], 1);
}

/** Lengths of a weight's rows. */
const rowLengths =
  (weight: string): Init =>
  async (shape, rng, base) => {
    const values = await copyOf(weight)(shape, rng, base);
    const [rows = 0] = shape;
    const width = values.length / rows;
    return Float64Array.from({ length: rows }, (_, i) => {
      let squares = 0;
      for (let k = 0; k < width; k++) squares += (values[i * width + k] ?? NaN) ** 2;
      return Math.sqrt(squares);
    });
  };
