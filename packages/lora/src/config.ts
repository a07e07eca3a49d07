/** @file What can be chosen of a LoRA, and what it means at one linear. */
import { ConfigError, covers, type Mention, type ModelInfo, type Site, z } from "@graftml/peft";

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
export const config = z
  .object({
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
    embeddings: z.boolean().default(false).describe("Whether the tables of tokens are adapted too."),
    fused: z
      .enum(["whole", "split"])
      .default("whole")
      .describe(
        "A projection that is several at once (GPT-2's `c_attn`): one A and B for all of it, as in PEFT, or `split`, a pair for each part that `target` names, as in the paper.",
      ),
    rslora: z.boolean().default(false).describe("Multiply by alpha / √rank instead."),
    dora: z
      .boolean()
      .default(false)
      .describe("DoRA: train the length of every row of the weight too, and with A and B only its direction."),
    init: z
      .enum(["default", "gaussian", "pissa", "olora"])
      .default("default")
      .describe(
        "Start of A: `default` is uniform within ±1/√in, `gaussian` normal with deviation 1/rank; B starts at zero. `pissa` and `olora` start both from factors of the weight, which are subtracted again.",
      ),
    lr_ratio: z.number().positive().default(1).describe("LoRA+: learning rate of B by that of A (16 in the paper)."),
    bias: z
      .enum(["none", "lora_only", "all"])
      .default("none")
      .describe("Biases to train as well: those of adapted linears, or all of the model."),
    lora_bias: z.boolean().default(false).describe("Whether B has a bias of its own."),
    rank_pattern: z
      .record(expression, z.int().min(1))
      .default({})
      .describe(
        "Ranks of certain linears: regular expressions of the end of the path (of all of it after `^`); the first that matches holds.",
      ),
    alpha_pattern: z.record(expression, z.number()).default({}).describe("Alphas of certain linears, likewise."),
  })
  .refine((c) => !(c.lora_bias && (c.dora || c.fused === "split")), {
    path: ["lora_bias"],
    error: "goes neither with dora nor with fused: split",
  })
  .refine((c) => !(c.embeddings && c.dora), { path: ["dora"], error: "is for linears only; leave embeddings out" });

/** A LoRA's configuration with every default filled in. */
export type LoraConfig = z.output<typeof config>;

/** The first pattern that a path's end matches, or the value for all: PEFT's `get_pattern_key`. */
const patterned = (patterns: Readonly<Record<string, number>>, path: string, otherwise: number): number =>
  Object.entries(patterns).find(([key]) => endsIn(key).test(path))?.[1] ?? otherwise;
/** r at a linear. */
export const rankAt = ({ rank, rank_pattern }: LoraConfig, { path }: Site): number =>
  patterned(rank_pattern, path, rank);

/** α at a linear. */
export const alphaAt = ({ alpha, alpha_pattern }: LoraConfig, { path }: Site): number =>
  patterned(alpha_pattern, path, alpha);

/** s at a linear: α/r, or α/√r (rsLoRA). */
export function scaleAt(c: LoraConfig, site: Site): number {
  const rank = rankAt(c, site);
  return alphaAt(c, site) / (c.rslora ? Math.sqrt(rank) : rank);
}

/** Whether a linear of the target is left out. */
export const leftOut = (
  { exclude, layers }: Pick<LoraConfig, "exclude" | "layers">,
  site: Site,
  model: ModelInfo,
): boolean =>
  covers(exclude, site, model) || (layers !== null && (site.layer === null || !layers.includes(site.layer)));

/** Whether a configuration adapts a site. */
export const adapts = (c: LoraConfig, site: Site, model: ModelInfo): boolean =>
  site.kind === "embedding"
    ? c.embeddings
    : site.kind === "linear" && covers(c.target, site, model) && !leftOut(c, site, model);

/** Rows of a linear's outputs that have factors of their own. */
export interface Part {
  /** What names its factors: "", or the role of a part of a fused projection. */
  readonly name: string;
  readonly from: number;
  readonly out: number;
}

/**
 * The parts of an adapted linear that are adapted.
 * @throws {ConfigError} if a fused projection is to be split that is not made of equal parts.
 */
export function partsOf(c: LoraConfig, site: Site, { heads, keyHeads }: ModelInfo): readonly Part[] {
  const { roles, path } = site;
  if (c.fused === "whole" || roles.length === 1) return [{ name: "", from: 0, out: site.out }];
  if (heads !== keyHeads)
    throw new ConfigError(`lora.fused: ${path} is not made of equal parts, so it cannot be split. Adapt it whole.`);
  const out = site.out / roles.length;
  const words = [c.target].flat();
  const parts = roles.map((role, i) => ({ name: `.${role}`, from: i * out, out }));
  const named = parts.filter((_, i) => words.includes(roles[i] ?? ""));
  return named.length > 0 ? named : parts; // named by its path, it is meant as a whole
}

/** What the configuration names besides its target. */
export function mentions({
  exclude,
  layers,
  rank_pattern,
  alpha_pattern,
}: Pick<LoraConfig, "exclude" | "layers" | "rank_pattern" | "alpha_pattern">): Mention[] {
  const patterns = (what: string, keys: object): Mention[] =>
    Object.keys(keys).map((key) => ({ what: `${what} "${key}"`, at: (site) => endsIn(key).test(site.path) }));
  return [
    ...[exclude].flat().map((word) => ({ what: `exclude "${word}"`, at: typeof exclude === "string" ? word : [word] })),
    ...(layers ?? []).map((layer): Mention => ({ what: `layers ${layer}`, at: (site) => site.layer === layer })),
    ...patterns("rank_pattern", rank_pattern),
    ...patterns("alpha_pattern", alpha_pattern),
  ];
}
