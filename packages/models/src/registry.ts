/** @file From a configuration to a model, by its `model_type`. */
import { type JsonObject, type Model, StateError } from "@graftml/peft";
import { bert } from "./bert.ts";
import { deberta, debertaV2 } from "./deberta.ts";
import { distilbert } from "./distilbert.ts";
import type { BuildOptions, Family } from "./family.ts";
import { gpt2 } from "./gpt2.ts";
import { llamas } from "./llama.ts";
import { roberta, xlmRoberta } from "./roberta.ts";
import { mt5, t5 } from "./t5.ts";
import { vit } from "./vit.ts";

/** The families of this package. */
export const families: readonly Family[] = [
  ...llamas,
  gpt2,
  t5,
  mt5,
  bert,
  roberta,
  xlmRoberta,
  distilbert,
  deberta,
  debertaV2,
  vit,
];

/**
 * The family of a configuration.
 * @throws {StateError} naming the model type and those that are known.
 */
export function familyOf(config: JsonObject, known: readonly Family[], file: string): Family {
  const type = config["model_type"];
  const family = known.find((f) => f.type === type);
  if (family !== undefined) return family;
  const found = type === undefined ? "no model_type" : `model_type ${JSON.stringify(type)}`;
  throw new StateError(`${file}: ${found}; known are ${known.map((f) => `"${f.type}"`).join(", ")}.`);
}

/**
 * The model that a configuration describes, without weights.
 * @param known families to choose from, a third party's among them.
 * @throws {StateError} if the model is of no known family, or an option is missing, wrong or not supported.
 */
export function buildModel(
  config: JsonObject,
  {
    families: known = families,
    task = "causal-lm",
    labels = null,
    multiLabel = null,
    dropout = 0,
    file = "config.json",
  }: Partial<BuildOptions> & { readonly families?: readonly Family[] } = {},
): Model {
  return familyOf(config, known, file).build(config, { task, labels, multiLabel, dropout, file });
}
