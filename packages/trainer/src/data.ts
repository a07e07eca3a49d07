/** @file The order of rows: a pure function of seed and epoch, so that a place in it is two numbers. */
import { keyOf, uniformAt } from "@graftml/tensor";

/** How rows are dealt out to optimizer steps. */
export interface Dealing {
  /** Rows there are. */
  readonly rows: number;
  readonly batchSize: number;
  readonly accumulate: number;
}

/** Optimizer steps of an epoch. Steps do not reach into the next epoch: the last one takes what is left, as in transformers. */
export const stepsIn = ({ rows, batchSize, accumulate }: Dealing): number => Math.ceil(rows / (batchSize * accumulate));

/** A place between two steps: the epoch and the row of its order that comes next. */
export interface Position {
  readonly epoch: number;
  readonly index: number;
}

/** Where the rows of the step that follows `done` optimizer steps begin. */
export function positionAfter(done: number, dealing: Dealing): Position {
  const steps = stepsIn(dealing);
  return { epoch: Math.floor(done / steps), index: (done % steps) * dealing.batchSize * dealing.accumulate };
}

/** Gives the row numbers of the step that follows `done` optimizer steps, a list for each micro-batch. */
export function dealer(
  dealing: Dealing & { readonly seed: number; readonly shuffle: boolean },
): (done: number) => readonly (readonly number[])[] {
  const { rows, batchSize, accumulate, seed, shuffle } = dealing;
  let order: ArrayLike<number> = Array.from({ length: rows }, (_, i) => i);
  let shuffled = -1;
  return (done) => {
    const { epoch, index } = positionAfter(done, dealing);
    if (shuffle && epoch !== shuffled) {
      order = permutation(rows, seed, epoch);
      shuffled = epoch;
    }
    const end = Math.min(rows, index + batchSize * accumulate);
    const batches: number[][] = [];
    for (let start = index; start < end; start += batchSize)
      batches.push(Array.from({ length: Math.min(batchSize, end - start) }, (_, i) => order[start + i] ?? 0));
    return batches;
  };
}

/** A micro-batch among those to come: the `index`-th of the step that follows `step` steps. */
export interface Coming {
  readonly step: number;
  readonly index: number;
  readonly numbers: readonly number[];
}

/** The next micro-batches after `done` steps, at least `count` of them. */
export function comingBatches(deal: ReturnType<typeof dealer>, done: number, count: number): readonly Coming[] {
  const coming: Coming[] = [];
  for (let step = done; coming.length < count; step++)
    coming.push(...deal(step).map((numbers, index) => ({ step, index, numbers })));
  return coming;
}

/** 0 … n − 1 in an order that depends on seed and epoch only. @see Fisher & Yates; Durstenfeld 1964, algorithm 235. */
export function permutation(n: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const key = keyOf("order of rows");
  for (let i = n - 1; i > 0; i--) {
    // Two draws of 23 bits, for data sets of more rows than one draw can tell apart.
    const u = uniformAt(seed, epoch, key, 2 * i) + (uniformAt(seed, epoch, key, 2 * i + 1) - 0.5) / 2 ** 23;
    const j = Math.floor(u * (i + 1));
    const [a = 0, b = 0] = [order[i], order[j]];
    order[i] = b;
    order[j] = a;
  }
  return order;
}

/** Tokens that a row of `longest` is padded to: a multiple of 8, so that few programs serve all batches, within what the model takes. */
export const paddedLength = (longest: number, maxLength: number): number =>
  Math.min(Math.ceil(longest / 8) * 8, maxLength);
