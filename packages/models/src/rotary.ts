/** @file The angles of rotary positions, and what configurations say of them. */
import type { Tensor, Trace } from "@graftml/tensor";
import { z } from "zod";
import { only, size } from "./config.ts";

const KINDS = ["default", "linear", "llama3"] as const;

const factor = z.number().positive().nullish();

/** `rope_scaling` of a config.json, or the `rope_parameters` that transformers 5 writes instead. */
export const rotaryKeys = z
  .object({
    rope_type: z.enum(KINDS).nullish(),
    type: z.enum(KINDS).nullish(),
    rope_theta: z.number().positive().nullish(),
    factor,
    low_freq_factor: factor,
    high_freq_factor: factor,
    original_max_position_embeddings: size.nullish(),
    partial_rotary_factor: only(1),
  })
  .transform((keys, context) => {
    const kind = keys.rope_type ?? keys.type ?? "default";
    const need = (key: "factor" | "low_freq_factor" | "high_freq_factor", by: readonly (typeof kind)[]): number => {
      if (keys[key] == null && by.includes(kind))
        context.addIssue({ code: "custom", path: [key], message: `rope_type "${kind}" needs it` });
      return keys[key] ?? 1;
    };
    return {
      theta: keys.rope_theta ?? null,
      kind,
      factor: need("factor", ["linear", "llama3"]),
      low: need("low_freq_factor", ["llama3"]),
      high: need("high_freq_factor", ["llama3"]),
      pretrained: keys.original_max_position_embeddings ?? null,
    };
  });

/** What the angles depend on. */
export interface RotaryOptions {
  /** Positions that the table covers. */
  readonly positions: number;
  /** Width of the rotated part of a head, even. */
  readonly width: number;
  /** Base of the wavelengths. */
  readonly theta: number;
  /** How longer texts than those of pretraining are fitted in; absent: not at all. */
  readonly scaling?: RotaryScaling | undefined;
}

/** Wavelengths that are stretched. */
export interface RotaryScaling {
  /** By how much; all of them, unless limits are given. */
  readonly factor: number;
  /**
   * Only wavelengths above `long` are stretched wholly, those below `short` not at all, those between in part.
   * @see Grattafiori et al. 2024 ("The Llama 3 herd of models"), §3.4.3; HF `_compute_llama3_parameters`.
   */
  readonly limits?: { readonly short: number; readonly long: number } | undefined;
}

/** The scaling that keys of a configuration ask for, for a model of so many positions. */
export function rotaryScaling(keys: z.output<typeof rotaryKeys>, positions: number): RotaryScaling | undefined {
  const { kind, factor, low, high } = keys;
  const pretrained = keys.pretrained ?? positions;
  if (kind === "default") return undefined;
  return kind === "linear" ? { factor } : { factor, limits: { short: pretrained / high, long: pretrained / low } };
}

/**
 * Cosines and sines of every position: entry i of a row is cos(p·θ^(−2i/R)), entry R/2 + i the sine.
 *
 * [P, R]. Frequencies and angles are rounded to f32 where Hugging Face rounds them: at position 8,000 an f32 angle is off
 * by up to 2⁻¹¹, and a checkpoint has learned with that.
 * @see Su et al. 2021, §3.4.2; HF `LlamaRotaryEmbedding`.
 */
export function rotaryTable(trace: Trace, options: RotaryOptions): Tensor {
  const { positions, width } = options;
  const half = width / 2;
  return trace.constant(`rotary ${JSON.stringify(options)}`, [positions, width], () => {
    const frequencies = Array.from({ length: half }, (_, i) => frequency(i, options));
    const table = new Float32Array(positions * width);
    for (let p = 0; p < positions; p++)
      frequencies.forEach((frequency, i) => {
        const angle = Math.fround(p * frequency);
        table[p * width + i] = Math.cos(angle);
        table[p * width + half + i] = Math.sin(angle);
      });
    return table;
  });
}

/** What a position is multiplied by in pair i of a head. */
function frequency(i: number, { width, theta, scaling }: RotaryOptions): number {
  const plain = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / width)));
  if (scaling === undefined) return plain;
  const { factor, limits = { short: 0, long: 0 } } = scaling;
  const stretched = Math.fround(plain / factor);
  const wavelength = Math.fround(Math.fround(2 * Math.PI) / plain);
  if (wavelength < limits.short) return plain;
  if (wavelength > limits.long) return stretched;
  const share = (limits.long / wavelength - 1) / (limits.long / limits.short - 1); // 1 at the short end, 0 at the long
  return Math.fround((1 - share) * stretched + share * plain);
}
