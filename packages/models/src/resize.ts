/**
 * @file Resizing pictures to the bit as Pillow does: models are trained on what it gives, and other libraries give other
 * bytes. When shrinking, its filters grow with the scale, so that no pixel is passed over.
 * @see Pillow's `Resample.c` (`precompute_coeffs`, `ImagingResampleHorizontal_8bpc`).
 */
import type { Picture } from "./image.ts";

/** A reconstruction filter: its weights, which are zero beyond `support`. */
export interface Filter {
  readonly support: number;
  at(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** The sharpness of Pillow's cubic: a = −½. */
const CUBIC = -0.5;

/** Pillow's filters by name. */
export const filters = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at(x) {
      const d = Math.abs(x);
      if (d < 1) return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * CUBIC : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
} as const satisfies Readonly<Record<string, Filter>>;

/** Bits behind the point of a weight, as whole numbers. */
const PRECISION = 22;

/** Which elements make one of the result, and their weights as whole numbers. */
interface Window {
  readonly start: number;
  readonly weights: Int32Array;
}

/** The windows of an axis that goes from one length to another. */
function windows(from: number, to: number, { support, at }: Filter): readonly Window[] {
  const scale = from / to;
  const spread = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support * spread + 0.5));
    const end = Math.min(from, Math.trunc(center + support * spread + 0.5));
    const weights = Array.from({ length: end - start }, (__, x) => at((x + start - center + 0.5) * (1 / spread)));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { start, weights: Int32Array.from(weights, (w) => roundAway((w / total) * 2 ** PRECISION)) };
  });
}

const roundAway = (x: number): number => Math.trunc(x < 0 ? x - 0.5 : x + 0.5);

/**
 * One axis resized, rounded to bytes: bytes seen as [outer, from, inner] → [outer, to, inner].
 * @param inner what lies between neighbours of the axis.
 */
function resizeAxis(bytes: Uint8Array, from: number, to: number, inner: number, filter: Filter): Uint8Array {
  if (from === to) return bytes;
  const outer = bytes.length / from / inner;
  const result = new Uint8ClampedArray(outer * to * inner);
  windows(from, to, filter).forEach(({ start, weights }, i) => {
    for (let o = 0; o < outer; o++)
      for (let c = 0; c < inner; c++) {
        let sum = 1 << (PRECISION - 1);
        for (let x = 0; x < weights.length; x++)
          sum += (bytes[(o * from + start + x) * inner + c] ?? 0) * (weights[x] ?? 0);
        result[(o * to + i) * inner + c] = sum >> PRECISION;
      }
  });
  return new Uint8Array(result.buffer);
}

/** A picture of so many rows and columns; bytes are rounded between the two axes, so their order can be seen. */
export function resized(
  { width, height, pixels }: Picture,
  [rows, columns]: readonly [number, number],
  filter: Filter,
): Picture {
  const across = (bytes: Uint8Array): Uint8Array => resizeAxis(bytes, width, columns, 3, filter);
  const down = (bytes: Uint8Array, between: number): Uint8Array => resizeAxis(bytes, height, rows, 3 * between, filter);
  // As Pillow since version 13: rows first where many more of them go than of columns.
  const rowsFirst = rows < height && height - rows > 2 * (width - columns);
  return {
    width: columns,
    height: rows,
    pixels: rowsFirst ? across(down(pixels, width)) : down(across(pixels), columns),
  };
}
