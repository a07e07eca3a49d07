/** @file What a family of models is: how one is built from its config.json, and what its files look like. */
import { ConfigError, type Init, type JsonObject, type Model, type Site, type TensorFile } from "@graftml/peft";

/** What a user may choose about a model that its config.json describes. */
export interface BuildOptions {
  /** What the model is for, by the names of run files; it decides which head stands on it. A family refuses what it has no head for. */
  readonly task: string;
  /** Outputs of a head that does not predict tokens, or their names; null: those of config.json (`id2label`, `num_labels`). */
  readonly labels: number | readonly string[] | null;
  /** Whether a text may have several of the labels; null: as config.json says (`problem_type`). */
  readonly multiLabel: boolean | null;
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
  /** Names of tensors that heads for other tasks need, which a checkpoint may hold besides. */
  readonly otherHeads?: RegExp;
  /** The name that a tensor has by now, where files may name it otherwise. */
  rename?(name: string): string;
  /** What a checkpoint says better than its config.json: the configuration to build with. */
  settle?(config: JsonObject, weights: TensorFile, file: string): Promise<JsonObject>;
  /** @throws {StateError} naming the key of an option that is missing, wrong or not supported. */
  build(config: JsonObject, options: BuildOptions): Model;
  /** Start of a parameter drawn at random; `common` is the rule of most: weights normal, norms one, biases zero. */
  init?(parameter: Site<"param">, config: JsonObject, common: Init): Init;
}

/**
 * What a family has for a task.
 * @throws {ConfigError} naming the task and those that the family has a head for.
 */
export function headFor<H>(heads: Readonly<Record<string, H>>, type: string, { task, file }: BuildOptions): H {
  const head = Object.hasOwn(heads, task) ? heads[task] : undefined;
  if (head !== undefined) return head;
  const known = Object.keys(heads).join(", ");
  throw new ConfigError(`${file}: "${type}" has no head for the task ${task}; it has heads for ${known}.`);
}
