/** @file What a family of models is: how one is built from its config.json, and what its files look like. */
import { ConfigError, type Init, type JsonObject, type Model, type Site } from "@graftml/peft";

/** What a user may choose about a model that its config.json describes. */
export interface BuildOptions {
  /** What the model is for, by the names of run files; it decides which head stands on it. A family refuses what it has no head for. */
  readonly task: string;
  /** Outputs of a head that does not predict tokens; null: as many as config.json names (`id2label`, `num_labels`). */
  readonly labels: number | null;
  /** The model's own dropouts, which act while training: one rate for all of them, or "config" for those of config.json. */
  readonly dropout: number | "config";
  /** Where the configuration was read, for messages. */
  readonly file: string;
}

/** Models that share a forward pass. A third party makes its own and passes it beside ours: there is no closed list. */
export interface Family {
  /** `model_type` of the configurations it reads. */
  readonly type: string;
  /** First segment of its parameters' names ("transformer"), which files saved from the bare body lack. */
  readonly prefix: string;
  /** Names of tensors in older files that are computed, not learned (causal masks, rotary frequencies). */
  readonly computed?: RegExp;
  /** @throws {StateError} naming the key of an option that is missing, wrong or not supported. */
  build(config: JsonObject, options: BuildOptions): Model;
  /** Start of a parameter drawn at random; `common` is the rule of most: weights normal, norms one, biases zero. */
  init?(parameter: Site<"param">, config: JsonObject, common: Init): Init;
}

/**
 * Refuses dropout inside attention, which the fused attention does not have.
 * @throws {ConfigError} naming the key and the way out.
 */
export function refuseAttentionDropout(key: string, rate: number, file: string): void {
  if (rate > 0)
    throw new ConfigError(
      `${file}: ${key} is ${rate}, and dropout inside attention is not supported. Turn the model's dropouts off (model_dropout: 0).`,
    );
}
