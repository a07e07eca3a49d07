/** @file AdaLoRA's budget: how important every rank is, and which of them are kept. */
import { type Between, ConfigError, type Owned, type Pause } from "@graftml/peft";
import type { AdaloraConfig } from "./adalora.ts";

/** Whether ranks are still being allotted: not in an adapter from a file that says what was left. */
export const isOpen = ({ ranks }: Pick<AdaloraConfig, "ranks">): boolean => Object.keys(ranks).length === 0;

/**
 * Algorithm 1 of Zhang et al. 2023, after every step. The importance of a number p is |p · ∂loss/∂p|, smoothed, times how
 * much it varies, smoothed; that of a rank is its λ's and the means of its row of A and its column of B. The budget falls from all
 * ranks to `target_rank` a linear with the cube of what is left of the way.
 */
export const allocation = (c: AdaloraConfig): Between => ({
  due: ({ step }) => isOpen(c) && step > 0,
  async act(pause) {
    const { step, steps } = pause.progress;
    const last = steps - c.cooldown;
    if (c.warmup >= last)
      throw new ConfigError(
        `adalora.warmup and adalora.cooldown are ${c.warmup} and ${c.cooldown} steps; a run of ${steps} leaves none to share out the budget. Shorten them.`,
      );
    const places = placesOf(pause.owned);
    const values = new Map<Owned, Float64Array>();
    const zeroed = async (E: Owned, keeps: (i: number) => boolean): Promise<void> => {
      values.set(
        E,
        Float64Array.from(await pause.value(E), (x: number, i) => (keeps(i) ? x : 0)),
      );
    };
    if (step > last) {
      for (const { E, kept } of places) {
        const mask = await pause.value(kept);
        await zeroed(E, (i) => mask[i] === 1);
      }
      return { values };
    }
    const scores: Float64Array[] = [];
    for (const place of places) scores.push(await scoresOf(place, pause, c, step < last ? values : null));
    if (step < last && (step <= c.warmup || step % c.every > 0)) return { values };
    const ranked = scores.flatMap((s) => [...s]).sort((a, b) => a - b);
    const dropped = ranked.length - budgetAt(c, step, last, places.length);
    const threshold = dropped > 0 ? (ranked[dropped - 1] ?? NaN) : -Infinity;
    for (const [n, { E, kept }] of places.entries()) {
      const keeps = (i: number): boolean => (scores[n]?.[i] ?? NaN) > threshold;
      await zeroed(E, keeps);
      if (step === last)
        values.set(
          kept,
          new Float64Array(c.rank).map((_, i) => (keeps(i) ? 1 : 0)),
        );
    }
    return { values };
  },
});

/** Ranks that are kept after a step. */
function budgetAt({ rank, target_rank, warmup }: AdaloraConfig, step: number, last: number, linears: number): number {
  const left = 1 - (step - warmup) / (last - warmup);
  return Math.trunc((rank - target_rank) * linears * left ** 3 + target_rank * linears);
}

/** A matrix of trained numbers, with what is remembered of each. */
interface Factor {
  readonly value: Owned;
  readonly importance: Owned;
  readonly uncertainty: Owned;
  /** The rank that an element belongs to. */
  rankOf(element: number): number;
}

interface Place {
  readonly factors: readonly Factor[];
  readonly E: Owned;
  readonly kept: Owned;
}

/** What is owned, by the linears it belongs to. */
function placesOf(owned: readonly Owned[]): readonly Place[] {
  const byName = new Map(owned.map((o) => [o.name, o]));
  return owned.flatMap(({ name: full }) => {
    if (!full.endsWith(".lora_E")) return [];
    const path = full.slice(0, -".lora_E".length);
    const named = (name: string): Owned | undefined => byName.get(`${path}.${name}`);
    const factor = (name: string, rankOf: (element: number, shape: readonly number[]) => number): Factor[] => {
      const [value, importance, uncertainty] = [name, `${name}.importance`, `${name}.uncertainty`].map(named);
      return value && importance && uncertainty
        ? [{ value, importance, uncertainty, rankOf: (i) => rankOf(i, value.shape) }]
        : [];
    };
    const [E, kept] = [named("lora_E"), named("lora_E.kept")];
    const factors = [
      ...factor("lora_A", (i, [, width = 1]) => Math.floor(i / width)),
      ...factor("lora_B", (i, [, rank = 1]) => i % rank),
      ...factor("lora_E", (i) => i),
    ];
    return E && kept ? [{ factors, E, kept }] : [];
  });
}

/** The importance of each rank of a linear [r]; what is remembered goes on by a step and into `values`, if that is wanted. */
async function scoresOf(
  { factors, E }: Place,
  { value, gradient }: Pause,
  { beta1, beta2 }: AdaloraConfig,
  values: Map<Owned, Float64Array> | null,
): Promise<Float64Array> {
  const [ranks = 0] = E.shape;
  const scores = new Float64Array(ranks);
  for (const factor of factors) {
    const importance = Float64Array.from(await value(factor.importance));
    const uncertainty = Float64Array.from(await value(factor.uncertainty));
    if (values !== null) {
      const [p, g] = [await value(factor.value), await gradient(factor.value)];
      for (let i = 0; i < importance.length; i++) {
        const now = Math.abs((p[i] ?? NaN) * (g[i] ?? NaN));
        const smooth = beta1 * (importance[i] ?? NaN) + (1 - beta1) * now;
        importance[i] = smooth;
        uncertainty[i] = beta2 * (uncertainty[i] ?? NaN) + (1 - beta2) * Math.abs(now - smooth);
      }
      values.set(factor.importance, importance);
      values.set(factor.uncertainty, uncertainty);
    }
    const share = ranks / importance.length; // of a mean
    importance.forEach(
      (x, i) => (scores[factor.rankOf(i)] = (scores[factor.rankOf(i)] ?? NaN) + share * x * (uncertainty[i] ?? NaN)),
    );
  }
  return scores;
}
