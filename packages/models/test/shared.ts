/** @file The folder with reference models and data, which lies beside the clone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** GRAFT_SHARED, or `shared` beside the repository. */
const shared = process.env["GRAFT_SHARED"] ?? join(import.meta.dirname, "../../../../shared");

/** A model's folder. */
export const modelFolder = (name: string): string => join(shared, "models", name);

/** What torch says of a model, as far as tests use it. */
export interface Reference {
  readonly text?: string;
  readonly input_ids: readonly number[];
  readonly loss_mean_next_token?: number;
  readonly logits_last_position?: readonly number[];
  readonly logits_first_position_first_16?: readonly number[];
  /** Of every position, instead of the two above. */
  readonly logits?: readonly (readonly number[])[];
  readonly greedy_prompt?: string;
  readonly greedy_ids?: readonly number[];
  readonly greedy_text?: string;
}

/** reference.json of a model. */
export const referenceOf = (name: string): Reference =>
  JSON.parse(readFileSync(join(modelFolder(name), "reference.json"), "utf8")) as Reference;

/** A data file, by its path in the folder of data. */
export const dataFile = (name: string): string => join(shared, "data", name);
