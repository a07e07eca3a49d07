/** @file How the kernels of optimizers go through a bucket: in chunks that can be bound, with threads that stride. */
import { BUCKET_BLOCK, type Target } from "@graftml/tensor";

/** Elements that share a learning-rate factor and a decay flag, and the scales of codes: those of a block are of one parameter. */
export const BLOCK = BUCKET_BLOCK;

/** Threads of a workgroup. */
export const THREADS = 256;

/** Workgroups that keep a software adapter busy, each going through the elements in strides. */
const LANES_GROUPS = 32;

/** A stretch of a bucket that one dispatch can bind. */
export interface Chunk {
  /** First element. */
  readonly start: number;
  /** Elements; a multiple of 256 like `start`. */
  readonly count: number;
}

/** Splits a bucket so that each part fits a binding; a bucket is larger only where a single parameter is. */
export function chunksOf(size: number, { maxBinding }: Target): readonly Chunk[] {
  const most = Math.floor(maxBinding / 4 / BLOCK) * BLOCK;
  return Array.from({ length: Math.ceil(size / most) }, (_, i) => ({
    start: i * most,
    count: Math.min(most, size - i * most),
  }));
}

/** Workgroups for n vectors; threads take further ones in strides. */
export const groupsFor = (n: number, { family, maxWorkgroups }: Target): number =>
  Math.min(Math.ceil(n / THREADS), family === "lanes" ? LANES_GROUPS : maxWorkgroups);

/** The part of a bucket that a chunk binds, in bytes. */
export const rangeOf = ({ start, count }: Chunk): { readonly offset: number; readonly size: number } => ({
  offset: 4 * start,
  size: 4 * count,
});
