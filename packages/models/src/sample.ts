/** @file Choosing the next token from its logits. */
import { ConfigError } from "@graftml/peft";
import { keyOf, uniformAt, type Values } from "@graftml/tensor";

/** How tokens are drawn; the filters apply in this order, as in transformers. */
export interface Sampling {
  /** Logits are divided by it; above 0. Default 1. */
  readonly temperature?: number;
  /** Only the k likeliest may be drawn. */
  readonly topK?: number;
  /** Only the likeliest whose probabilities add up to this may be drawn, in (0, 1]. */
  readonly topP?: number;
  /** The same seed, prompts and settings give the same tokens. */
  readonly seed: number;
}

/** @throws {ConfigError} naming a setting that makes no sense. */
export function checkSampling({ temperature = 1, topK = 1, topP = 1 }: Sampling): void {
  if (!(temperature > 0))
    throw new ConfigError(
      `temperature must be above 0, not ${temperature}. Leave sampling out for the likeliest token.`,
    );
  if (!Number.isInteger(topK) || topK < 1) throw new ConfigError(`topK must be a whole number above 0, not ${topK}.`);
  if (!(topP > 0 && topP <= 1)) throw new ConfigError(`topP must be in (0, 1], not ${topP}.`);
}

/** The likeliest token; the first of several. */
export function likeliest(logits: Values): number {
  let best = 0;
  logits.forEach((x, id) => {
    if (x > (logits[best] ?? -Infinity)) best = id;
  });
  return best;
}

/**
 * A token drawn from softmax(logits / temperature), cut to the likeliest.
 * @param place which draw it is: a draw depends on seed, row and step only.
 * @see Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
 */
export function draw(
  logits: Values,
  { temperature = 1, topK = logits.length, topP = 1, seed }: Sampling,
  { row, step }: { readonly row: number; readonly step: number },
): number {
  const peak = logits[likeliest(logits)] ?? 0;
  const ranked = Array.from(logits, (x, id) => ({ id, mass: Math.exp((x - peak) / temperature) }))
    .sort((a, b) => b.mass - a.mass || a.id - b.id)
    .slice(0, topK);
  const total = ranked.reduce((sum, { mass }) => sum + mass, 0);
  let before = 0;
  const kept = ranked.filter(({ mass }) => {
    const keep = before < topP * total;
    before += mass;
    return keep;
  });
  let left = uniformAt(seed, step, keyOf(`sample ${row}`), 0) * kept.reduce((sum, { mass }) => sum + mass, 0);
  return (kept.find(({ mass }) => (left -= mass) < 0) ?? kept.at(-1))?.id ?? 0;
}
