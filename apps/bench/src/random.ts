/** @file Random tokens, where what they are changes no time, and random weights. */
import { families, randomBase } from "@graftml/models";
import type { Base, Model } from "@graftml/peft";

/** A row of so many tokens. */
export const randomRow = (length: number, vocabulary: number): readonly number[] =>
  Array.from({ length }, () => Math.floor(Math.random() * vocabulary));

/** Random weights of a model by its family's rules. */
export function randomWeights(model: Model, seed: number): Base {
  const family = families.find((f) => f.type === model.info.type);
  if (family === undefined) throw new Error(`the family of ${model.info.type} is gone.`);
  return randomBase(model, family, seed);
}
