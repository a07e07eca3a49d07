/** @file What can be chosen of a LoRA, and what it means at one linear. */
import { covers, type Mention, type ModelInfo, type Site, z } from "@graftml/peft";

/** A key of a pattern as PEFT reads it: a regular expression of the end of the path. */
export const endsIn = (key: string): RegExp => new RegExp(`^(?:.*\\.)?(?:${key})$`);

const target = z.union([z.string(), z.array(z.string())]);
const expression = z.string().refine(isExpression, "This is no regular expression.");

function isExpression(source: string): boolean {
  try {
    return endsIn(source) instanceof RegExp;
  } catch {
    return false;
  }
}

/** Keys of a LoRA, with PEFT's names where they differ. */
export const config = z.object({
  rank: z.int().min(1).default(8).describe("Width of the update; PEFT's `r`."),
  alpha: z.number().default(8).describe("The update is multiplied by alpha / rank; PEFT's `lora_alpha`."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on the input of the update, while training."),
  target: target
    .default(["attn.q", "attn.v"])
    .describe("Linears to adapt: roles, ends of paths, `all-linear`, or one regular expression of the whole path."),
  exclude: target.default([]).describe("Linears of `target` to leave out."),
  layers: z
    .array(z.int().min(0))
    .min(1)
    .nullable()
    .default(null)
    .describe("Blocks to adapt, counted from 0; null: all."),
  rslora: z.boolean().default(false).describe("Multiply by alpha / √rank instead."),
  init: z
    .enum(["default", "gaussian"])
    .default("default")
    .describe(
      "Start of A: `default` is uniform within ±1/√in, `gaussian` normal with deviation 1/rank. B starts at zero.",
    ),
  bias: z
    .enum(["none", "lora_only", "all"])
    .default("none")
    .describe("Biases to train as well: those of adapted linears, or all of the model."),
  rank_pattern: z
    .record(expression, z.int().min(1))
    .default({})
    .describe(
      "Ranks of certain linears: regular expressions of the end of the path (of all of it after `^`); the first that matches holds.",
    ),
  alpha_pattern: z.record(expression, z.number()).default({}).describe("Alphas of certain linears, likewise."),
});

/** A LoRA's configuration with every default filled in. */
export type LoraConfig = z.output<typeof config>;

/** The first pattern that a path's end matches, or the value for all: PEFT's `get_pattern_key`. */
const patterned = (patterns: Readonly<Record<string, number>>, path: string, otherwise: number): number =>
  Object.entries(patterns).find(([key]) => endsIn(key).test(path))?.[1] ?? otherwise;
/** r at a linear. */
export const rankAt = ({ rank, rank_pattern }: LoraConfig, { path }: Site): number =>
  patterned(rank_pattern, path, rank);

/** s at a linear: α/r, or α/√r (rsLoRA). */
export function scaleAt(c: LoraConfig, site: Site): number {
  const rank = rankAt(c, site);
  return patterned(c.alpha_pattern, site.path, c.alpha) / (c.rslora ? Math.sqrt(rank) : rank);
}

/** Whether a linear of the target is left out. */
export const leftOut = ({ exclude, layers }: LoraConfig, site: Site, model: ModelInfo): boolean =>
  covers(exclude, site, model) || (layers !== null && (site.layer === null || !layers.includes(site.layer)));

/** Whether a configuration adapts a site. */
export const adapts = (c: LoraConfig, site: Site, model: ModelInfo): boolean =>
  site.kind === "linear" && covers(c.target, site, model) && !leftOut(c, site, model);

/** What the configuration names besides its target. */
export function mentions({ exclude, layers, rank_pattern, alpha_pattern }: LoraConfig): Mention[] {
  const patterns = (what: string, keys: object): Mention[] =>
    Object.keys(keys).map((key) => ({ what: `${what} "${key}"`, at: (site) => endsIn(key).test(site.path) }));
  return [
    ...[exclude].flat().map((word) => ({ what: `exclude "${word}"`, at: typeof exclude === "string" ? word : [word] })),
    ...(layers ?? []).map((layer): Mention => ({ what: `layers ${layer}`, at: (site) => site.layer === layer })),
    ...patterns("rank_pattern", rank_pattern),
    ...patterns("alpha_pattern", alpha_pattern),
  ];
}
