/** @file Matrices stored as codes: what a code stands for, and how many words hold them. */
import { sizeOf } from "./shape.ts";

/** How the numbers of a matrix are stored. */
export interface Encoding {
  /** For labels; encodings that differ have different names. */
  readonly name: string;
  /**
   * The 16 numbers that codes of four bits stand for; null: codes are integers of eight bits in two's complement, and stand for
   * so many 127ths.
   */
  readonly table: readonly number[] | null;
  /** Consecutive numbers, counted through the rows, that share a scale: a multiple of 4; null: those of a row do. */
  readonly block: number | null;
  /** Where scales are stored as codes of eight bits themselves: the 256 numbers these stand for, and how many share a scale. */
  readonly nested: { readonly table: readonly number[]; readonly block: number } | null;
}

/** What the integer 1 stands for: 1/127 in f32, as in bitsandbytes. */
export const INTEGER_UNIT = Math.fround(1 / 127);

/** What is decoded. */
export interface DequantizeAttrs {
  /** Of the matrix: [rows, columns]. */
  readonly shape: readonly [number, number];
  readonly encoding: Encoding;
}

/** Bits of one code. */
export const bitsOf = ({ table }: Encoding): number => (table === null ? 8 : 4);

/** Elements of each tensor that holds a matrix of this shape: words of codes, scales (or words of their codes), nested scales. */
export function codeLengths({ shape, encoding }: DequantizeAttrs): {
  readonly codes: number;
  readonly scales: number;
  readonly nested: number;
} {
  const size = sizeOf(shape);
  const blocks = encoding.block === null ? shape[0] : Math.ceil(size / encoding.block);
  const { nested } = encoding;
  return {
    codes: Math.ceil((size * bitsOf(encoding)) / 32),
    scales: nested === null ? blocks : Math.ceil(blocks / 4),
    nested: nested === null ? 0 : 1 + Math.ceil(blocks / nested.block),
  };
}

/**
 * The matrix that codes stand for, row by row: table[code] · scale, or code · scale · 1/127, each step rounded to f32. A nested
 * scale is table[code] · scale of its block + offset, likewise.
 * @param parts codes, scales and, if there are, nested scales, as `codeLengths` counts them.
 */
export function decodeCodes(
  [codes = [], scales = [], nested = []]: readonly ArrayLike<number>[],
  { shape, encoding }: DequantizeAttrs,
): Float32Array<ArrayBuffer> {
  const { table, block, nested: inner } = encoding;
  const byteOf = (words: ArrayLike<number>, i: number): number => ((words[i >> 2] ?? 0) >>> (8 * (i & 3))) & 255;
  const scaleOf = (b: number): number => {
    if (inner === null) return scales[b] ?? 0;
    const own = (inner.table[byteOf(scales, b)] ?? 0) * (nested[1 + Math.floor(b / inner.block)] ?? 0);
    return Math.fround(Math.fround(own) + (nested[0] ?? 0));
  };
  const length = block ?? shape[1];
  const values = new Float32Array(sizeOf(shape));
  for (let from = 0; from < values.length; from += length) {
    const scale = scaleOf(from / length);
    for (let i = from; i < Math.min(from + length, values.length); i++) {
      const code =
        table === null ? (byteOf(codes, i) << 24) >> 24 : ((codes[i >> 3] ?? 0) >>> (4 * ((i & 7) ^ 1))) & 15;
      values[i] = table === null ? Math.fround(code * scale) * INTEGER_UNIT : (table[code] ?? 0) * scale;
    }
  }
  return values;
}
