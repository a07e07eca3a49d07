/** @file Weights drawn at random by the rules of a config.json: where training from scratch starts. */
import {
  type Base,
  type Init,
  type Model,
  normal,
  ones,
  rngOf,
  type Site,
  sites,
  StateError,
  zeros,
} from "@graftml/peft";
import type { Family } from "./family.ts";

/**
 * The rule that the padding token's row of these tables is zero, as torch's Embedding keeps it; all else is as common.
 * @param fallback the padding token where config.json names none; null: there is none.
 */
export const paddingAtZero =
  (fallback: number | null, ...tables: readonly string[]): NonNullable<Family["init"]> =>
  ({ path }, { pad_token_id: pad = fallback }, common) =>
    tables.includes(path) && typeof pad === "number"
      ? async (shape, rng, base) => {
          const values = Float32Array.from(await common(shape, rng, base));
          const width = shape.at(-1) ?? 0;
          return values.fill(0, pad * width, (pad + 1) * width);
        }
      : common;

/**
 * Random weights of a model: norms one, biases zero, everything else normal with `initializer_range`, but for what the
 * family does differently. Values depend on the seed and the parameter's name only, and reading twice gives the same.
 * @see HF `PreTrainedModel._init_weights`.
 */
export function randomBase(model: Model, family: Family, seed: number): Base {
  const { config } = model.info;
  const range = config["initializer_range"];
  const weights = normal(typeof range === "number" ? range : 0.02);
  const common = ({ roles }: Site): Init => (roles.includes("bias") ? zeros : roles.includes("norm") ? ones : weights);
  const parameters = new Map(
    sites(model).flatMap((s) => (s.kind === "param" ? [[s.path, s as Site<"param">] as const] : [])),
  );
  const base: Base = {
    names: () => parameters.keys(),
    describe: (name) => {
      const parameter = parameters.get(name);
      return parameter && { shape: parameter.shape, dtype: "f32" };
    },
    read: async (name) => {
      const parameter = parameters.get(name);
      if (parameter === undefined) throw new StateError(`the model has no parameter ${name}.`);
      const init = family.init?.(parameter, config, common(parameter)) ?? common(parameter);
      return init(parameter.shape, rngOf(seed, name), base);
    },
  };
  return base;
}
