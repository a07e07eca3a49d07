/** @file Matrices stored as codes: what a code stands for, and how many words hold them. */
import { sizeOf } from "./shape.ts";

/** How the numbers of a matrix are stored. */
export interface Encoding {
  /** For labels; encodings that differ have different names. */
  readonly name: string;
  /** The 16 numbers that codes of four bits stand for; null: codes are integers of eight bits in two's complement. */
  readonly table: readonly number[] | null;
  /** Consecutive numbers, counted through the rows, that share a scale: a multiple of 4; null: those of a row do. */
  readonly block: number | null;
  /** Where scales are stored as codes of eight bits themselves: the 256 numbers these stand for, and how many share a scale. */
  readonly nested: { readonly table: readonly number[]; readonly block: number } | null;
}

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
