/**
 * @file A LoRA's files as Hugging Face PEFT reads and writes them.
 * @see PEFT `tuners/lora/config.py`, `tuners/tuners_utils.py`; formats recorded from version 0.21.2.
 */
import { type Interchange, type JsonObject, moduleNames, namedModules, refuseRest, type Site } from "@graftml/peft";
import { sameShape, type Shape } from "@graftml/tensor";
import { adapts, endsIn, type LoraConfig } from "./config.ts";

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
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  monteclora_config: null,
  qalora_group_size: 16,
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
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
    r: c.rank,
    lora_alpha: c.alpha,
    lora_dropout: c.dropout,
    target_modules: moduleNames(
      sites.filter((s) => adapts(c, s, model)),
      admitted(c, sites),
    ),
    exclude_modules: null,
    layers_to_transform: c.layers,
    use_rslora: c.rslora,
    init_lora_weights: c.init === "default" ? true : c.init,
    bias: c.bias,
    rank_pattern: c.rank_pattern,
    alpha_pattern: c.alpha_pattern,
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
      ...rest
    } = json;
    refuse(init, rest);
    const linears = sites.filter((s) => s.kind === "linear").map((s) => s.path);
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
      rslora,
      init: init === "gaussian" ? init : "default",
      bias: bias === "all" && !biased ? "none" : bias,
      rank_pattern: matching(ranks),
      alpha_pattern: matching(alphas),
    };
  },
  tensors: {
    // PEFT wraps an adapted linear, so that the bias of the linear lies one level deeper.
    pack: (owned) => {
      const wrapped = (name: string): boolean => owned.has(name.replace(/bias$/, "lora_A.weight"));
      return new Map(
        Array.from(owned, ([name, v]) => [wrapped(name) ? name.replace(/bias$/, "base_layer.bias") : name, v]),
      );
    },
    unpack: (file, { sites }) => {
      // Beside an adapted head PEFT saves the head's own weight, which the base has.
      const copied = new Map(sites.map((s) => [`${s.path}.base_layer.weight`, [s.out, s.in]]));
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

/** Sites that PEFT may name: all but parameters, in the blocks that `layers` admits. */
const admitted = ({ layers }: LoraConfig, sites: readonly Site[]): readonly Site[] =>
  sites.filter((s) => s.kind !== "param" && (layers === null || layers.includes(s.layer ?? -1)));
