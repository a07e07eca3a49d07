/** @file What can be chosen of (IA)³, and what is chosen where nothing is said: PEFT's choice for each architecture. */
import { covers, type ModelInfo, type Site, z } from "@graftml/peft";

const target = z.union([z.string(), z.array(z.string())]);

/** Keys of (IA)³, with PEFT's names where they differ. */
export const config = z.object({
  target: target
    .nullable()
    .default(null)
    .describe(
      "Linears to scale, those of `feedforward` included: roles, ends of paths, `all-linear`, or one regular expression of the whole path; null: as PEFT does for the architecture.",
    ),
  feedforward: target
    .nullable()
    .default(null)
    .describe("Those of `target` whose inputs are scaled instead of their outputs; null: likewise."),
  exclude: target.default([]).describe("Linears of `target` to leave out."),
});

/** An (IA)³'s configuration with every default filled in. */
export type Ia3Config = z.output<typeof config>;

/** The paper's choice, and PEFT's for most decoders: keys, values, and what enters the feed-forward's last map. */
const paper: readonly string[] = ["attn.k", "attn.v", "cross.k", "cross.v", "mlp.down"];
/** PEFT takes queries for keys in some. */
const queries: readonly string[] = ["attn.q", "attn.v", "cross.q", "cross.v", "mlp.down"];
/** In encoders PEFT says `output.dense`, by which attention's output map is named as well. */
const outputs: readonly string[] = [...paper, "attn.o", "cross.o"];

/** Where PEFT departs from the paper, by `model_type`. PEFT `TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING`. */
const departures: Readonly<Record<string, readonly string[]>> = {
  bart: queries,
  bert: outputs,
  "deberta-v2": outputs,
  gemma: queries,
  gemma2: queries,
  gemma3_text: queries,
  gpt_neo: queries,
  gptj: queries,
  llama4: queries,
  mt5: ["attn.k", "attn.v", "cross.k", "cross.v", "mlp.up"],
  opt: queries,
  phi: queries,
  qwen2: queries,
  qwen3: queries,
  roberta: outputs,
};

const targetOf = ({ target }: Ia3Config, { type }: ModelInfo): string | readonly string[] =>
  target ?? departures[type] ?? paper;

/** What PEFT scales on the way in, where nothing is said: all of its choice but queries, keys and values. */
const enters = (site: Site, { type }: ModelInfo): boolean =>
  (departures[type] ?? paper).some((role) => /\.(?:down|o)$/.test(role) && site.roles.includes(role));

/** Whether a configuration scales a linear. */
export const scales = (c: Ia3Config, site: Site, model: ModelInfo): boolean =>
  site.kind === "linear" && covers(targetOf(c, model), site, model) && !covers(c.exclude, site, model);

/** Whether it scales the linear's input. */
export const scalesInput = ({ feedforward }: Ia3Config, site: Site, model: ModelInfo): boolean =>
  feedforward === null ? enters(site, model) : covers(feedforward, site, model);
