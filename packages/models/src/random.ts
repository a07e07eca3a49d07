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
