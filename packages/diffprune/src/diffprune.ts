/** @file Diff pruning: a change of the weights that is zero almost everywhere. */
import {
  type Between,
  type Changes,
  defineMethod,
  type Here,
  type Init,
  ones,
  type Owned,
  type Pause,
  type Progress,
  zeros,
} from "@graftml/peft";
import { add, fill, mul, reshape, scale, sizeOf, sum, type Tensor, where } from "@graftml/tensor";
import { type Config, config, isTargeted } from "./config.ts";
import { gate, gateOf, open } from "./gates.ts";
import { interchange } from "./interchange.ts";

const constant =
  (value: number): Init =>
  (shape) =>
    new Float32Array(sizeOf(shape)).fill(value);

const frozen = { trainable: false };

/** θ + z ⊙ w, and once it is cut down θ + mask ⊙ w. */
function changed(value: Tensor, here: Here<"param">, c: Config): Tensor {
  const { own, site, train } = here;
  const w = own("diff", site.shape, zeros);
  const mask = own("mask", site.shape, ones, frozen);
  if (c.mask === "fixed") return add(value, mul(mask, w));
  const cut = own("cut", [], zeros, frozen);
  const gates = { lrScale: c.gate_rate, decay: false };
  const alpha = own("alpha", site.shape, constant(c.alpha), gates);
  let z = gate(alpha, train ? here.uniform("noise", site.shape) : null, c);
  let price = open(alpha, c);
  if (c.structured) {
    const group = reshape(own("group_alpha", [1], constant(c.alpha), gates), [1, 1]);
    z = mul(z, gate(group, train ? here.uniform("group_noise", [1, 1]) : null, c));
    price = mul(price, open(group, c));
  }
  here.penalize(where(cut, fill(cut.node.trace, [], 0), scale(sum(price), c.l0)));
  return add(value, mul(where(cut, mask, z), w));
}

/**
 * θ' = θ + z ⊙ w with hard-concrete gates z and a price on every gate that may be open; after part of the steps the change is
 * cut down to the largest numbers of all matrices together, exactly as many as the budget allows, and those go on training.
 * @see Guo et al. 2021, https://arxiv.org/abs/2012.07463, §3.
 */
export const diffprune = defineMethod({
  contract: 1,
  name: "diffprune",
  group: "specification",
  source: "https://arxiv.org/abs/2012.07463",
  config,
  adapt: (c) => ({
    param: {
      at: (site, model) => isTargeted(c.target, site, model),
      optional: true,
      mentions: [c.target].flat().map((word) => ({
        what: `target "${word}"`,
        at: (site, model) => isTargeted(typeof c.target === "string" ? word : [word], site, model),
      })),
      wrap: (_, next, here) => changed(next(), here, c),
    },
  }),
  between: (c): Between => ({
    due: (progress) => c.mask === "learned" && progress.step === cutAfter(c, progress),
    act: (pause) => cutDown(pause, c),
  }),
  interchange,
});

/** Optimizer steps before all but the budget is cut off. */
const cutAfter = ({ cut }: Config, { steps }: Progress): number => Math.max(1, Math.round(cut * steps));

/** What belongs to one weight. */
interface Parts {
  readonly diff: Owned;
  readonly mask: Owned;
  readonly alpha: Owned;
  readonly cut: Owned;
  readonly group_alpha?: Owned;
}

/** Keeps the largest numbers of the change as they are and sets all others to zero for good; the optimizer starts anew, at another rate. */
async function cutDown({ owned, value }: Pause, c: Config): Promise<Changes> {
  const weights = new Map<string, Record<string, Owned>>();
  for (const o of owned) {
    const name = o.name.slice(o.name.lastIndexOf(".") + 1);
    weights.set(o.site.path, { ...weights.get(o.site.path), [name]: o });
  }
  const all = [...weights.values()] as unknown as readonly Parts[]; // as `changed` owns them
  const changes: Float32Array[] = [];
  for (const { diff, alpha, group_alpha: group } of all) {
    const [w, gates] = [await value(diff), await value(alpha)];
    const [whole = Infinity] = group === undefined ? [] : await value(group);
    changes.push(Float32Array.from(w, (v: number, i) => v * gateOf(whole, c) * gateOf(gates[i] ?? NaN, c)));
  }
  const masks = largest(changes, c.fraction);
  const values = all.flatMap(({ diff, mask, cut }, i) => {
    const kept = masks[i] ?? new Float32Array();
    return [
      [diff, (changes[i] ?? kept).map((v, j) => (kept[j] === 1 ? v : 0))],
      [mask, kept],
      [cut, Float32Array.of(1)],
    ] as const;
  });
  return { values: new Map(values), lrScale: new Map(all.map(({ diff }) => [diff, c.fixed_rate])), restart: true };
}

/** Masks of the numbers that are largest in magnitude: a fraction of all of them, to the unit. Of equals the first are kept. */
export function largest(parts: readonly Float32Array[], fraction: number): readonly Float32Array[] {
  const total = parts.reduce((n, part) => n + part.length, 0);
  const magnitudes = new Float32Array(total);
  let start = 0;
  for (const part of parts) {
    magnitudes.set(part.map(Math.abs), start);
    start += part.length;
  }
  const budget = Math.round(fraction * total);
  const threshold = magnitudes.toSorted()[total - budget] ?? Infinity;
  let ties = budget - magnitudes.reduce((n, m) => (m > threshold ? n + 1 : n), 0);
  const keeps = (v: number): boolean => Math.abs(v) > threshold || (Math.abs(v) === threshold && ties-- > 0);
  return parts.map((part) => part.map((v) => (keeps(v) ? 1 : 0)));
}
