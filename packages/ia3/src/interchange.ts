/**
 * @file (IA)³'s files as Hugging Face PEFT reads and writes them.
 * @see PEFT `tuners/ia3/config.py`, `tuners/ia3/model.py`; formats recorded from version 0.21.2.
 */
import { type Interchange, moduleNames, namedModules, refuseRest, type Site } from "@graftml/peft";
import { type Ia3Config, scales, scalesInput } from "./config.ts";

/** (IA)³ as PEFT's `IA3Config`; the tensors are the same. */
export const interchange: Interchange<Ia3Config> = {
  peftType: "IA3",
  toConfig(c, { sites, model }) {
    const scaled = sites.filter((s) => scales(c, s, model));
    const others = sites.filter((s) => s.kind !== "param");
    const [inward, outward] = [true, false].map((input) =>
      moduleNames(
        scaled.filter((s) => scalesInput(c, s, model) === input),
        others,
      ),
    );
    return {
      target_modules: [...(outward ?? []), ...(inward ?? [])],
      feedforward_modules: inward,
      exclude_modules: null,
      // Tells PEFT how the weight lies in memory (GPT-2's Conv1D), which it scales on merging.
      fan_in_fan_out: scaled.some((s) => s.transposed),
      init_ia3_weights: true,
    };
  },
  fromConfig(json, { sites }) {
    const {
      target_modules: target,
      feedforward_modules: feedforward,
      exclude_modules: exclude,
      fan_in_fan_out: _,
      init_ia3_weights: __,
      ...rest
    } = json;
    refuseRest("ia3", rest);
    return {
      target: namedModules(target, sites) ?? null,
      feedforward: Array.isArray(feedforward) ? feedforward.flatMap((word) => named(String(word), sites)) : feedforward,
      exclude: namedModules(exclude, sites) ?? undefined,
    };
  },
};

/** A word for the feed-forward's linears: PEFT compares it with the end of a path, whether or not a name begins there. */
function named(word: string, sites: readonly Site[]): readonly string[] {
  const ends = sites.flatMap((s) => (s.kind === "linear" && s.path.endsWith(word) ? [s.path] : []));
  return ends.every((path) => `.${path}`.endsWith(`.${word}`)) ? (ends.length > 0 ? [word] : []) : ends;
}
