/**
 * @file Disentangled attention: scores of content and position apart, positions being distances sorted into buckets.
 * @see He et al. 2021 (DeBERTa) §3.1; HF `modeling_deberta_v2.py`, `DisentangledSelfAttention`.
 */
import {
  add,
  cast,
  concat,
  fill,
  gather,
  linear,
  reshape,
  scale,
  slice,
  type Tensor,
  transpose,
} from "@graftml/tensor";

/** How distances are told apart. */
export interface Distances {
  /** Rows of the table for one direction: distances from here on share the last one. */
  readonly span: number;
  /** Distances of this size and more are sorted logarithmically into so many buckets a side; null: each has a row. */
  readonly buckets: { readonly mid: number; readonly max: number } | null;
}

/**
 * The bucket of a distance: itself up to `mid`; further away, buckets are logarithmically wider, `max` − 1 being in the last
 * one. Rounded to f32 where torch rounds, since a bucket ends where a logarithm is whole.
 */
function bucketOf(distance: number, { mid, max }: NonNullable<Distances["buckets"]>): number {
  const far = Math.abs(distance);
  if (far <= mid) return distance;
  const log = (x: number): number => Math.fround(Math.log(Math.fround(x)));
  const share = Math.fround(log(far / mid) / log((max - 1) / mid));
  return Math.sign(distance) * (Math.ceil(Math.fround(share * (mid - 1))) + mid);
}

/** The row of the table for a distance: query behind key if positive. */
export function rowOf(distance: number, { span, buckets }: Distances): number {
  const place = buckets === null ? distance : bucketOf(distance, buckets);
  return Math.min(Math.max(place + span, 0), 2 * span - 1);
}

/** Rows of the table [2·span, D] for the distances 1 − n … n − 1, or falling from n − 1 to 1 − n: [2n − 1, D] */
export function byDistance(table: Tensor, n: number, distances: Distances, order: "rising" | "falling"): Tensor {
  const { trace } = table.node;
  const { span, buckets } = distances;
  const sign = order === "rising" ? 1 : -1;
  const name = `rows of ${n} ${order} distances, ${span} ${buckets === null ? "" : `${buckets.mid} ${buckets.max}`}`;
  const rows = trace.constant(name, [2 * n - 1], () =>
    Float32Array.from({ length: 2 * n - 1 }, (_, i) => rowOf(sign * (i - n + 1), distances)),
  );
  return gather(table, cast(rows, "i32"));
}

/** Rows of which each begins one place before the one above it: x [M, T, 2T − 1] → [M, T, T], y[m, t, s] = x[m, t, T − 1 − t + s]. */
function windows(x: Tensor): Tensor {
  const [M = 0, T = 0, N = 0] = x.shape;
  if (T === 1) return x;
  // Behind the first T − 1 numbers, rows that are one shorter all begin where they should.
  const shorter = reshape(slice(reshape(x, [M, T * N]), 1, T - 1, T * (N - 1)), [M, T, N - 1]);
  return slice(shorter, 2, 0, T);
}

/**
 * Products of every row with what stands for its distance to every other: x [B, T, H, E], rows [2T − 1, H·E] → [H, B, T, T],
 * y[h, b, t, s] = x[b, t, h] · rows[T − 1 − t + s, h].
 */
function products(x: Tensor, rows: Tensor): Tensor {
  const [B = 0, T = 0, H = 0, E = 0] = x.shape;
  const [N = 0] = rows.shape;
  const perHead = transpose(reshape(rows, [N, H, E]), [1, 0, 2]); // [H, N, E]
  const all = linear(transpose(x, [2, 0, 1, 3]), perHead); // [H, B, T, N]
  return reshape(windows(reshape(all, [H * B, T, N])), [H, B, T, T]);
}

/** What stands for distances of n rows; null where nothing looks at them. */
export interface Positions {
  /** For a query's distances n − 1 … 1 − n to its keys, [2n − 1, H·E]. */
  readonly keys: Tensor | null;
  /** In the place of a query, for its distances 1 − n … n − 1 to a key, [2n − 1, H·E]. */
  readonly queries: Tensor | null;
}

/**
 * factor · (query · distance + distance · key): what positions add to the scores of q and k [B, T, H, E] → [B, H, T, S].
 * Keys that joined in front (S > T) have no position and get nothing.
 */
export function disentangledBias(q: Tensor, k: Tensor, at: Positions, factor: number, keys: number): Tensor {
  const [B = 0, T = 0, H = 0] = q.shape;
  const terms = [
    ...(at.keys === null ? [] : [transpose(products(q, scale(at.keys, factor)), [1, 0, 2, 3])]),
    ...(at.queries === null ? [] : [transpose(products(k, scale(at.queries, factor)), [1, 0, 3, 2])]),
  ];
  const own = terms.reduce(add);
  return keys === T ? own : concat([fill(q.node.trace, [B, H, T, keys - T], 0), own], 3);
}
