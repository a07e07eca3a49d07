/**
 * @file AdapterHub's configuration of a bottleneck adapter, and ours.
 * @see AdapterHub `configuration/adapter_config.py`, `BnConfig`; recorded from version 1.3.0.
 */
import { type Adapted, ConfigError, type JsonObject, refuseRest } from "@graftml/peft";
import { houlsby, parallel, pfeiffer } from "./adapters.ts";
import { type AdapterConfig, widthOf, widths } from "./config.ts";

/** Keys that the methods do not have, with the values that say nothing. */
const neutral: JsonObject = {
  adapter_residual_before_ln: false,
  factorized_phm_W: true,
  factorized_phm_rule: false,
  hypercomplex_nonlinearity: "glorot-uniform",
  init_weights_seed: null,
  learn_phm: true,
  ln_after: false,
  ln_before: false,
  original_ln_after: true,
  phm_bias: true,
  phm_c_init: "normal",
  phm_dim: 4,
  phm_init_range: 0.0001,
  phm_layer: false,
  phm_rank: 1,
  residual_before_ln: true,
  shared_W_phm: false,
  shared_phm_rule: true,
  stochastic_depth: 0.0,
  use_gating: false,
};

/** Each method's place among AdapterHub's flags. */
const kinds = [
  { method: houlsby, width: widths.houlsby, is_parallel: false, original_ln_before: false },
  { method: pfeiffer, width: widths.pfeiffer, is_parallel: false, original_ln_before: true },
  { method: parallel, width: widths.parallel, is_parallel: true, original_ln_before: false },
] as const;

/** Names of starts, as AdapterHub has them. */
const inits: Readonly<Record<string, AdapterConfig["init"]>> = { bert: "bert", houlsby: "houlsby", mam_adapter: "mam" };

/** What activations were called before version 3. */
const renamed: Readonly<Record<string, string>> = { gelu: "gelu_new", gelu_orig: "gelu" };

/** A configured method from an adapter_config.json. @throws {ConfigError} if it asks for what no method here does. */
export function fromHub(file: JsonObject): Adapted {
  const given = file["config"];
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new ConfigError(
      `adapter_config.json: "config" is ${JSON.stringify(given)}; only a configuration written out can be read. Save the adapter again with a current version of AdapterHub.`,
    );
  const {
    mh_adapter,
    output_adapter,
    cross_adapter = false,
    reduction_factor,
    non_linearity,
    original_ln_before = false,
    is_parallel = false,
    scaling = 1,
    dropout = 0,
    leave_out,
    init_weights = "bert",
    invertible_adapter: old,
    inv_adapter = (old as JsonObject | null | undefined)?.["block_type"] ?? null, // of version 1, an object if it is there
    inv_adapter_reduction_factor = (old as JsonObject | null | undefined)?.["reduction_factor"] ?? 2, // as above
    ...rest
  } = given as JsonObject;
  if ("architecture" in rest && rest["architecture"] !== null)
    throw new ConfigError(
      `adapter_config.json: this is a ${JSON.stringify(rest["architecture"])} of AdapterHub; of its adapters only bottlenecks can be read.`,
    );
  const kind =
    kinds.find(
      (k) => k.is_parallel === is_parallel && (k.is_parallel || k.original_ln_before === original_ln_before),
    ) ?? kinds[0];
  const { name } = kind.method.method;
  const unknownStart = Object.hasOwn(inits, String(init_weights)) ? {} : { init_weights };
  const unknownFlow = inv_adapter === null || inv_adapter === "nice" ? {} : { inv_adapter };
  refuseRest(name, { ...rest, ...unknownStart, ...unknownFlow }, neutral);
  const activation = String(non_linearity).toLowerCase();
  return kind.method({
    reduction: reduction_factor,
    activation: file["version"] === undefined ? (renamed[activation] ?? activation) : activation,
    scaling,
    dropout,
    init: inits[String(init_weights)],
    leave_out: leave_out ?? [],
    at: [
      ...(mh_adapter === true ? ["attn"] : []),
      ...(cross_adapter === true ? ["cross"] : []),
      ...(output_adapter === true ? ["mlp"] : []),
    ],
    train_norms: false,
    invertible: inv_adapter === null ? false : { reduction: inv_adapter_reduction_factor },
  } as never); // validated by the method
}

/**
 * AdapterHub's configuration of a method.
 * @param width of hidden states, to say a size as a reduction.
 * @throws {ConfigError} if AdapterHub has no such method.
 */
export function toHub({ name, config }: Adapted, width: number): JsonObject {
  const kind = kinds.find((k) => k.method.method.name === name);
  if (kind === undefined)
    throw new ConfigError(
      `AdapterHub's files have no place for ${name} here; only bottleneck adapters can be written.`,
    );
  const c = config as AdapterConfig; // a method of this package has its configuration
  if (c.train_norms)
    throw new ConfigError(`AdapterHub's files have no place for trained norms; train ${name} with train_norms: false.`);
  const { size, reduction } = widthOf(c, kind.width);
  return {
    ...neutral,
    mh_adapter: c.at.includes("attn"),
    cross_adapter: c.at.includes("cross"),
    output_adapter: c.at.includes("mlp"),
    // Half a feature more, so that rounding down gives the size.
    reduction_factor: size === null ? reduction : width % size === 0 ? width / size : width / (size + 0.5),
    non_linearity: c.activation,
    original_ln_before: kind.original_ln_before,
    is_parallel: kind.is_parallel,
    scaling: c.scaling,
    dropout: c.dropout,
    leave_out: c.leave_out,
    init_weights: Object.keys(inits).find((key) => inits[key] === c.init),
    inv_adapter: c.invertible === false ? null : "nice",
    inv_adapter_reduction_factor: c.invertible === false ? null : c.invertible.reduction,
  };
}
