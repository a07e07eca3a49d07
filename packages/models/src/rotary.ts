/** @file The angles of rotary positions. */
import type { Tensor, Trace } from "@graftml/tensor";

/** What the angles depend on. */
export interface RotaryOptions {
  /** Positions that the table covers. */
  readonly positions: number;
  /** Width of the rotated part of a head, even. */
  readonly width: number;
  /** Base of the wavelengths. */
  readonly theta: number;
}

/**
 * Cosines and sines of every position: entry i of a row is cos(p·θ^(−2i/R)), entry R/2 + i the sine.
 *
 * [P, R]. Frequencies and angles are rounded to f32 where Hugging Face rounds them: at position 8,000 an f32 angle is off
 * by up to 2⁻¹¹, and a checkpoint has learned with that.
 * @see Su et al. 2021, §3.4.2; HF `LlamaRotaryEmbedding`.
 */
export function rotaryTable(trace: Trace, { positions, width, theta }: RotaryOptions): Tensor {
  const half = width / 2;
  return trace.constant(`rotary θ=${theta} ${positions}×${width}`, [positions, width], () => {
    const frequencies = Array.from({ length: half }, (_, i) =>
      Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / width))),
    );
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
