/**
 * @file An AdaLoRA's files as Hugging Face PEFT reads and writes them: only the ranks that are kept.
 * @see PEFT `tuners/adalora`; formats recorded from version 0.21.2.
 */
import type { Interchange, NamedValues, ShapedValues } from "@graftml/peft";
import type { AdaloraConfig } from "./adalora.ts";
import { adapts, config as loraConfig, type LoraConfig } from "./config.ts";
import { interchange as lora } from "./interchange.ts";

/** The part that AdaLoRA has in common with LoRA. */
const asLora = ({ alpha, dropout, target, exclude, layers }: AdaloraConfig): LoraConfig =>
  loraConfig.parse({ alpha, dropout, target, exclude, layers });

/** An AdaLoRA as PEFT's `AdaLoraConfig` and its tensors. */
export const interchange: Interchange<AdaloraConfig> = {
  peftType: "ADALORA",
  toConfig(c, context, owned) {
    const sites = context.sites.filter((s) => adapts(asLora(c), s, context.model));
    const kept = keptRanks(owned);
    // A list of truths for every linear, of which PEFT uses how many are true.
    const patterns = sites.map(({ path }): readonly [string, readonly boolean[]] => {
      const list = kept?.get(path) ?? Array.from({ length: c.rank }, (_, i) => i < (c.ranks[path] ?? c.rank));
      return [`${path}.lora_E`, list];
    });
    const spent = kept !== null || Object.keys(c.ranks).length > 0;
    return {
      ...lora.toConfig(asLora(c), context, owned),
      r: 8, // PEFT's default: it is not used
      init_r: c.rank,
      target_r: c.target_rank,
      tinit: c.warmup,
      tfinal: c.cooldown,
      deltaT: c.every,
      beta1: c.beta1,
      beta2: c.beta2,
      orth_reg_weight: c.orthogonality,
      total_step: c.warmup + c.cooldown + 1, // the least that PEFT accepts; the run's own is the trainer's
      rank_pattern: spent ? Object.fromEntries(patterns) : null,
    };
  },
  fromConfig(json, context) {
    const {
      init_r: rank = 12,
      target_r: target_rank = 8,
      tinit: warmup = 0,
      tfinal: cooldown = 0,
      deltaT: every = 1,
      beta1 = 0.85,
      beta2 = 0.85,
      orth_reg_weight: orthogonality = 0.5,
      total_step: _steps,
      rank_pattern: pattern,
      r: _rank,
      ...rest
    } = json;
    const { alpha, dropout, target, exclude, layers } = lora.fromConfig(rest, context);
    const ranks = Object.entries((pattern ?? {}) as Readonly<Record<string, readonly boolean[]>>).map(
      ([name, list]) => [name.replace(/\.lora_E(?:\.[^.]+)?$/, ""), list.filter(Boolean).length] as const,
    );
    const own = { rank, target_rank, warmup, cooldown, every, beta1, beta2, orthogonality };
    return { ...own, alpha, dropout, target, exclude, layers, ranks: Object.fromEntries(ranks) };
  },
  tensors: {
    pack: (owned) => {
      const kept = keptRanks(owned);
      return new Map(Array.from(owned, ([name, value]) => [name, kept === null ? value : cut(name, value, kept)]));
    },
    // A linear of which nothing is left is not adapted.
    unpack: (file) => new Map([...file].filter(([, { shape }]) => !shape.includes(0))),
  },
};

/** Which ranks of each linear are not zero; null where none is, as at the start. */
function keptRanks(owned: NamedValues): ReadonlyMap<string, readonly boolean[]> | null {
  const numbers = [...owned].filter(([name]) => name.endsWith(".lora_E"));
  const kept = new Map(
    numbers.map(([name, { values }]) => [name.slice(0, -".lora_E".length), Array.from(values, (x: number) => x !== 0)]),
  );
  const all = [...kept.values()].flat();
  return all.every(Boolean) || !all.some(Boolean) ? null : kept;
}

/** The rows of A and E, or the columns of B, that are kept. */
function cut(name: string, value: ShapedValues, kept: ReadonlyMap<string, readonly boolean[]>): ShapedValues {
  const at = name.lastIndexOf(".");
  const mask = kept.get(name.slice(0, at)) ?? [];
  const [rows = 0, columns = 0] = value.shape;
  const byRow = !name.endsWith(".lora_B");
  const rank = mask.filter(Boolean).length;
  const chosen = value.values.filter((_, i) => mask[byRow ? Math.floor(i / columns) : i % columns] === true);
  return { shape: byRow ? [rank, columns] : [rows, rank], values: chosen };
}
