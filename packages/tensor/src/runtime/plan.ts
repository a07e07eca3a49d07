/** @file Which values may share memory: each value lives from the first dispatch that touches it to the last. */

/** A stretch of memory that is needed for a while. */
export interface Interval {
  readonly bytes: number;
  /** Number of the first dispatch that touches it. */
  readonly first: number;
  /** Number of the last one. */
  readonly last: number;
}

/** Slots, largest first, and the slot of each interval. */
export interface Slots {
  readonly sizes: readonly number[];
  readonly slotOf: readonly number[];
}

/**
 * Packs intervals into slots. Two of them share a slot only if no dispatch touches both, so a dispatch never has an input
 * and an output in one slot, which WebGPU forbids.
 *
 * Largest first, each into the slot it fits best: the smallest that is free for its whole life, of equals the one that
 * was used most recently before it. @see Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net
 * Inference", greedy by size.
 */
export function pack(intervals: readonly Interval[]): Slots {
  const slots: { readonly rank: number; readonly bytes: number; readonly held: Interval[] }[] = [];
  const slotOf = new Array<number>(intervals.length);
  const largestFirst = [...intervals.entries()].sort(([i, a], [j, b]) => b.bytes - a.bytes || i - j);
  for (const [index, interval] of largestFirst) {
    let best: (typeof slots)[number] | undefined;
    let smallestGap = Infinity;
    // Slots come in order of size, so the search from the end meets the smallest first.
    for (const slot of slots.toReversed()) {
      if (best !== undefined && slot.bytes > best.bytes) break;
      const gap = gapIn(slot.held, interval);
      if (gap < smallestGap) [best, smallestGap] = [slot, gap];
    }
    if (best === undefined) slots.push((best = { rank: slots.length, bytes: interval.bytes, held: [] }));
    best.held.push(interval);
    slotOf[index] = best.rank;
  }
  return { sizes: slots.map((s) => s.bytes), slotOf };
}

/** Dispatches between the end of the last interval before this one and its start; Infinity if it overlaps one. */
function gapIn(held: readonly Interval[], { first, last }: Interval): number {
  let gap = Number.MAX_SAFE_INTEGER;
  for (const other of held) {
    if (other.first <= last && first <= other.last) return Infinity;
    if (other.last < first) gap = Math.min(gap, first - other.last);
  }
  return gap;
}

/** The most bytes alive at one dispatch: no packing can need less. */
export function peak(intervals: readonly Interval[]): number {
  const changes = intervals.flatMap(({ bytes, first, last }) => [[first, bytes] as const, [last + 1, -bytes] as const]);
  let live = 0;
  let most = 0;
  for (const [, bytes] of changes.sort(([a, x], [b, y]) => a - b || x - y)) {
    live += bytes;
    most = Math.max(most, live);
  }
  return most;
}
