/**
 * @file Relative positions as a bias on attention's scores, learned for buckets of distances.
 * @see Raffel et al. 2020, §2.1; HF `T5Attention._relative_position_bucket`.
 */
import { cast, gather, reshape, shift, sub, type Tensor, transpose } from "@graftml/tensor";
import { iota } from "./layers.ts";

/** How distances are sorted into buckets. */
export interface Buckets {
  readonly count: number;
  /** Distances from here on share the last bucket of their side. */
  readonly maxDistance: number;
  /** Whether keys behind the query have buckets of their own; else all of them share bucket 0. */
  readonly bidirectional: boolean;
}

/**
 * The bucket of a key that stands `distance` places behind the query, or before it if negative. Half of a side's buckets
 * are for one distance each, the others cover logarithmically wider stretches. Rounded to f32 where torch rounds.
 */
export function bucketOf(distance: number, { count, maxDistance, bidirectional }: Buckets): number {
  const side = bidirectional ? Math.floor(count / 2) : count;
  const first = bidirectional && distance > 0 ? side : 0;
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance);
  const exact = Math.floor(side / 2);
  if (far < exact) return first + far;
  const share = Math.fround(Math.fround(Math.log(Math.fround(far / exact))) / Math.log(maxDistance / exact));
  return first + Math.min(side - 1, exact + Math.trunc(Math.fround(share * (side - exact))));
}

/**
 * What is added to the scores of every query and key, by their distance.
 *
 * Each distance has its row first, and pairs take theirs from there: gradients then add up in two short steps, where the
 * few buckets would each gather those of thousands of pairs one after another.
 * @param table a value for each bucket and head, [N, H].
 * @param queries their places, i32 [B or 1, T], all below S; keys stand at 0 … S − 1.
 * @returns [B or 1, H, T, S]
 */
export function distanceBias(table: Tensor, queries: Tensor, keys: number, buckets: Buckets): Tensor {
  const { trace } = queries.node;
  const { count, maxDistance, bidirectional } = buckets;
  const rows = 2 * keys - 1; // distances 1 − S … S − 1
  const name = `buckets ${count} ${maxDistance} ${bidirectional ? "both" : "before"} ${rows}`;
  const bucketsOfRows = trace.constant(name, [rows], () =>
    Float32Array.from({ length: rows }, (_, i) => bucketOf(i + 1 - keys, buckets)),
  );
  const byDistance = gather(table, cast(bucketsOfRows, "i32")); // [2S − 1, H]
  const places = reshape(cast(queries, "f32"), [...queries.shape, 1]); // [B or 1, T, 1]
  const distances = shift(sub(iota(trace, keys), places), keys - 1); // [B or 1, T, S]
  return transpose(gather(byDistance, cast(distances, "i32")), [0, 3, 1, 2]);
}
