/**
 * @file A LoRA's files as Hugging Face PEFT reads and writes them.
 * @see PEFT `tuners/lora/config.py`, `tuners/tuners_utils.py`; formats recorded from version 0.21.2.
 */
import {
  type Interchange,
  type JsonObject,
  type ModelInfo,
  moduleNames,
  namedModules,
  refuseRest,
  type Site,
} from "@graftml/peft";
import { sameShape, type Shape } from "@graftml/tensor";
import { adapts, alphaAt, endsIn, type LoraConfig, partsOf, rankAt } from "./config.ts";
import { folded } from "./fold.ts";

/** What PEFT's other keys say when they say nothing. */
const neutral: JsonObject = {
  alora_invocation_tokens: null,
  arrow_config: null,
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  loftq_config: {},
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  monteclora_config: null,
  qalora_group_size: 16,
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_qalora: false,
  velora_config: null,
};

/** Keys that only matter to how training starts or where it runs. */
const inert: readonly string[] = [
  "corda_config",
  "eva_config",
  "loftq_config",
  "lora_ga_config",
  "megatron_core",
  "qalora_group_size",
];

/** Starts of A and B that leave the base as it is; the others (PiSSA, OLoRA, LoftQ …) go with a changed base. */
const starts: readonly unknown[] = [undefined, true, false, "gaussian", "orthogonal", "eva"];

/** A LoRA as PEFT's `LoraConfig` and its tensors. */
export const interchange: Interchange<LoraConfig> = {
  peftType: "LORA",
  toConfig: (c, { sites, model }) => ({
    ...neutral,
    ...widths(
      c,
      sites.filter((s) => adapts(c, s, model)),
      model,
    ),
    lora_dropout: c.dropout,
    use_dora: c.dora,
    lora_bias: c.lora_bias,
    target_modules: moduleNames(
      sites.filter((s) => adapts(c, s, model)),
      admitted(c, sites),
    ),
    exclude_modules: null,
    layers_to_transform: c.embeddings ? null : c.layers, // a table of tokens is in no block
    use_rslora: c.rslora,
    init_lora_weights: c.init === "gaussian" ? c.init : true, // other starts are folded away
    bias: c.bias,
    // Tells PEFT how the weight lies in memory (GPT-2's Conv1D), to which it adds the update on merging.
    fan_in_fan_out: sites.some((site) => site.transposed && adapts(c, site, model)),
  }),
  fromConfig(json, { sites }) {
    const {
      r = 8,
      lora_alpha: alpha = 8,
      lora_dropout: dropout = 0,
      target_modules: target,
      exclude_modules: exclude,
      layers_to_transform: layers,
      use_rslora: rslora = false,
      init_lora_weights: init,
      bias = "none",
      rank_pattern: ranks,
      alpha_pattern: alphas,
      fan_in_fan_out: _,
      use_dora: dora = false,
      lora_bias: ownBias = false,
      ...rest
    } = json;
    refuse(init, rest);
    const linears = sites.filter((s) => s.kind === "linear" || s.kind === "embedding").map((s) => s.path);
    // PEFT's "all" says nothing where there is no bias.
    const biased = sites.some((s) => s.kind === "param" && s.path.endsWith(".bias"));
    const matching = (patterns: unknown): unknown =>
      Object.fromEntries(
        Object.entries(patterns ?? {}).filter(([key]) => linears.some((path) => endsIn(key).test(path))),
      );
    return {
      rank: r,
      alpha,
      dropout,
      target: namedModules(target, sites) ?? undefined,
      exclude: namedModules(exclude, sites) ?? undefined,
      layers:
        typeof layers === "number" ? [layers] : Array.isArray(layers) && layers.length === 0 ? null : (layers ?? null),
      embeddings: tables(target, sites),
      rslora,
      dora,
      lora_bias: ownBias,
      init: init === "gaussian" ? init : "default",
      bias: bias === "all" && !biased ? "none" : bias,
      rank_pattern: matching(ranks),
      alpha_pattern: matching(alphas),
    };
  },
  tensors: {
    // PEFT wraps an adapted linear, so that the bias of the linear lies one level deeper.
    pack: (owned, context) => {
      const plain = folded(owned, context);
      const wrapped = (name: string): boolean => plain.has(name.replace(/bias$/, "lora_A.weight"));
      return new Map(
        Array.from(plain, ([name, v]) => [wrapped(name) ? name.replace(/bias$/, "base_layer.bias") : name, v]),
      );
    },
    unpack: (file, { sites }) => {
      // Beside an adapted head or table PEFT saves its own weight, which the base has.
      const shapeOf = (s: Site): Shape => (s.kind === "embedding" ? [s.in, s.out] : [s.out, s.in]);
      const adaptable = sites.filter((s) => s.kind === "linear" || s.kind === "embedding");
      const copied = new Map(adaptable.map((s) => [`${s.path}.base_layer.weight`, shapeOf(s)]));
      const isCopy = (name: string, shape: Shape): boolean => {
        const wanted = copied.get(name);
        return wanted !== undefined && sameShape(wanted, shape);
      };
      const own = [...file].filter(([name, { shape }]) => !isCopy(name, shape));
      return new Map(own.map(([name, v]) => [name.replace(/\.base_layer\.bias$/, ".bias"), v]));
    },
  },
};

/** @throws {ConfigError} naming keys that would change what the tensors mean. */
function refuse(init: unknown, rest: JsonObject): void {
  const started = starts.includes(init);
  const asked = Object.entries(rest).filter(([key]) => !inert.includes(key));
  refuseRest(
    "lora",
    { ...Object.fromEntries(asked), ...(started ? {} : { init_lora_weights: init }) },
    neutral,
    started
      ? ""
      : "Such an adapter goes with a changed base; save it converted (PEFT's `path_initial_model_for_weight_conversion`).",
  );
}

/** Sites that PEFT may name: modules, in the blocks that `layers` admits. */
const admitted = ({ layers, embeddings }: LoraConfig, sites: readonly Site[]): readonly Site[] =>
  sites.filter((s) => s.kind !== "param" && (layers === null || embeddings || layers.includes(s.layer ?? -1)));

/** Whether PEFT's `target_modules` name a table of tokens. */
function tables(modules: unknown, sites: readonly Site[]): boolean {
  const paths = sites.flatMap((s) => (s.kind === "embedding" ? [s.path] : []));
  return Array.isArray(modules)
    ? modules.some((word) => paths.some((path) => `.${path}`.endsWith(`.${String(word)}`)))
    : typeof modules === "string" &&
        modules !== "all-linear" &&
        paths.some((path) => new RegExp(`^(?:${modules})$`).test(path));
}

/** Ranks and alphas of the plain LoRA that is saved: s stays what it is where there are more pairs than one. */
function widths(c: LoraConfig, adapted: readonly Site[], model: ModelInfo): JsonObject {
  const pairs = adapted.map((site) => (site.kind === "linear" ? pairsAt(c, site, model) : 1));
  const [most = 1] = pairs;
  const wider = (rank: number, n: number): number => rank * n;
  const louder = (alpha: number, n: number): number => alpha * (c.rslora ? Math.sqrt(n) : n);
  const mapped = (patterns: Readonly<Record<string, number>>, f: (x: number, n: number) => number): JsonObject =>
    Object.fromEntries(Object.entries(patterns).map(([key, x]) => [key, f(x, most)]));
  const alike = pairs.every((n) => n === most);
  // Where they differ every linear is named: its whole path matches nothing else.
  const named = (f: (site: Site, n: number) => number): JsonObject =>
    Object.fromEntries(adapted.map((site, i) => [site.path.replaceAll(".", "\\."), f(site, pairs[i] ?? 1)]));
  return {
    r: wider(c.rank, most),
    lora_alpha: louder(c.alpha, most),
    rank_pattern: alike ? mapped(c.rank_pattern, wider) : named((site, n) => wider(rankAt(c, site), n)),
    alpha_pattern: alike ? mapped(c.alpha_pattern, louder) : named((site, n) => louder(alphaAt(c, site), n)),
  };
}

/** Pairs of factors that a linear has: for each part, and for where each started. */
const pairsAt = (c: LoraConfig, site: Site, model: ModelInfo): number =>
  partsOf(c, site, model).length * (c.init === "pissa" || c.init === "olora" ? 2 : 1);
