/** @file The order of rows: a pure function of seed and epoch, so that a place in it is two numbers. */
import { keyOf, uniformAt } from "@graftml/tensor";
import { numbersOf } from "./rows.ts";

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

/** In which order rows are dealt out. */
export interface Ordering {
  readonly seed: number;
  /** Whether every epoch has an order of its own; else it is that of the rows. */
  readonly shuffle: boolean;
  /** How long a row is, if rows of like length are to share a batch. */
  readonly lengthOf?: (row: number) => number;
}

/** Gives the row numbers of the step that follows `done` optimizer steps, a list for each micro-batch. */
export function dealer(dealing: Dealing & Ordering): (done: number) => readonly (readonly number[])[] {
  const { rows, batchSize, accumulate, seed, shuffle, lengthOf } = dealing;
  const perStep = batchSize * accumulate;
  const orderOf = latest((epoch) => (shuffle ? permutation(rows, seed, epoch) : numbersOf({ length: rows })));
  const windowOf = latest((epoch, start) => {
    const numbers = [...orderOf(epoch).subarray(start, start + WINDOW * perStep)];
    return lengthOf === undefined ? numbers : likeLengths(numbers, dealing, lengthOf, epoch);
  });
  return (done) => {
    const { epoch, index } = positionAfter(done, dealing);
    const within = index % (WINDOW * perStep);
    const numbers = windowOf(epoch, index - within).slice(within, within + perStep);
    return Array.from({ length: Math.ceil(numbers.length / batchSize) }, (_, i) =>
      numbers.slice(i * batchSize, (i + 1) * batchSize),
    );
  };
}

/** Steps whose rows are sorted by length together: enough for little padding, few enough that an epoch stays well mixed. */
const WINDOW = 50;

/** Rows with those of like length side by side; batches are dealt out in a random order if rows are. */
function likeLengths(
  numbers: readonly number[],
  { batchSize, seed, shuffle }: Dealing & Ordering,
  lengthOf: (row: number) => number,
  epoch: number,
): readonly number[] {
  const lengths = new Map(numbers.map((row) => [row, lengthOf(row)]));
  const sorted = numbers.toSorted((a, b) => (lengths.get(a) ?? 0) - (lengths.get(b) ?? 0));
  if (!shuffle) return sorted;
  const full = Math.floor(sorted.length / batchSize); // what is left over stays at the end
  const order = [...permutation(full, seed, epoch), full];
  return order.flatMap((batch) => sorted.slice(batch * batchSize, (batch + 1) * batchSize));
}

/** A function that remembers what it gave last. */
function latest<A extends readonly number[], T>(make: (...args: A) => T): (...args: A) => T {
  let known: { readonly args: A; readonly value: T } | undefined;
  return (...args) => {
    if (known === undefined || args.some((arg, i) => arg !== known?.args[i])) known = { args, value: make(...args) };
    return known.value;
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
  const order = numbersOf({ length: n });
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
