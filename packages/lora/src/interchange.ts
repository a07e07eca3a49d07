/**
 * @file A LoRA's files as Hugging Face PEFT reads and writes them.
 * @see PEFT `tuners/lora/config.py`, `tuners/tuners_utils.py`; formats recorded from version 0.21.2.
 */
import { ConfigError, type Interchange, type JsonObject, type Site } from "@graftml/peft";
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

/** Keys of every adapter, and keys that only matter to how training starts or where it runs. */
const inert = [
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "eva_config",
  "inference_mode",
  "loftq_config",
  "lora_ga_config",
  "megatron_core",
  "modules_to_save", // read with the adapter's files, for every method
  "peft_type",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
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
    target_modules: targetModules(
      c,
      sites.filter((s) => adapts(c, s, model)),
      sites,
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
    // PEFT's "all" says nothing where there is no bias, and words of a list may name modules that a model does not have.
    const biased = sites.some((s) => s.kind === "param" && s.path.endsWith(".bias"));
    const named = (modules: unknown): unknown =>
      Array.isArray(modules)
        ? modules.filter((m) => linears.some((path) => `.${path}`.endsWith(`.${String(m)}`)))
        : modules;
    const matching = (patterns: unknown): unknown =>
      Object.fromEntries(
        Object.entries(patterns ?? {}).filter(([key]) => linears.some((path) => endsIn(key).test(path))),
      );
    return {
      rank: r,
      alpha,
      dropout,
      target: named(target) ?? undefined,
      exclude: named(exclude) ?? undefined,
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
  const says = (key: string): boolean => {
    const text = JSON.stringify(rest[key]);
    return (
      ![undefined, "null", "false", "[]", "{}", JSON.stringify(neutral[key])].includes(text) && !inert.includes(key)
    );
  };
  const keys = Object.keys(rest).filter(says);
  if (!starts.includes(init)) keys.push("init_lora_weights");
  const values: JsonObject = { ...rest, init_lora_weights: init };
  if (keys.length > 0)
    throw new ConfigError(
      `adapter_config.json: lora cannot do what ${keys.map((k) => `"${k}": ${JSON.stringify(values[k])}`).join(", ")} asks for.${keys.includes("init_lora_weights") ? " Such an adapter goes with a changed base; save it converted (PEFT's `path_initial_model_for_weight_conversion`)." : ""}`,
    );
}

/** The shortest ends of paths that name the adapted linears and, among the blocks that `layers` admits, nothing else. */
function targetModules({ layers }: LoraConfig, adapted: readonly Site[], sites: readonly Site[]): readonly string[] {
  const chosen = new Set(adapted.map((s) => s.path));
  const admitted = sites.filter((s) => s.kind !== "param" && (layers === null || layers.includes(s.layer ?? -1)));
  const others = admitted.map((s) => s.path).filter((path) => !chosen.has(path));
  const shortest = (path: string): string => {
    const parts = path.split(".");
    const ends = parts.map((_, i) => parts.slice(-1 - i).join("."));
    return ends.find((end) => !others.some((other) => `.${other}`.endsWith(`.${end}`))) ?? path;
  };
  return [...new Set([...chosen].map(shortest))];
}
