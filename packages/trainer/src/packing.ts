/** @file Packing: several short texts in one row, so that less of a batch is padding. */
import { digest } from "./digest.ts";
import type { Example } from "./encode.ts";
import { each, lazyRows, type Rows, rowsAt } from "./rows.ts";

/**
 * Rows of at most `length` tokens that hold all texts: each goes to the first row that has room for it, the longest first.
 * What a model learns does not change, for a text's tokens see none but its own (`packedLm`). Texts are read once for their
 * lengths, and again when a step needs the rows that they are in.
 * @see Krell et al. 2021, "first-fit decreasing"
 */
export function packRows(texts: Rows<Example>, length: number): Rows<Example> {
  const packing = pack(length, lengthsOf(texts));
  const sources = {
    length: packing.rows,
    at: (row: number) => (row < packing.rows ? textsIn(packing, row) : undefined),
  };
  const all = { length: texts.length, [Symbol.iterator]: () => each(texts) };
  return lazyRows({
    sources,
    make: (numbers) => joined(rowsAt(texts, numbers)),
    weight: (numbers) => numbers.reduce((sum, number) => sum + TOKEN * (packing.sizes[number] ?? 0), 0),
    identity: (numbers) => [...numbers],
    settings: [texts.lazy?.digest ?? digest(all)],
  });
}

/** Bytes that a token takes: its id and its label. */
const TOKEN = 16;

/** Texts of a batch in shared rows. */
export interface Packed {
  readonly rows: readonly Example[];
  /** Where each text begins and the token that it ends with, both counted over all rows of `length` tokens. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Packs the texts of a batch, and says where each came to lie. */
export function packBatch(texts: readonly Example[], length: number): Packed {
  const packing = pack(length, lengthsOf(texts));
  const { sizes, rowOf, startOf } = packing;
  const starts = texts.map((_, i) => (rowOf[i] ?? 0) * length + (startOf[i] ?? 0));
  return {
    rows: Array.from({ length: packing.rows }, (_, row) => joined(rowsAt(texts, textsIn(packing, row)))),
    starts,
    ends: starts.map((start, i) => start + (sizes[i] ?? 0) - 1),
  };
}

/** How many rows of `length` tokens hold texts of these sizes. */
export const rowsFor = (sizes: readonly number[], length: number): number => pack(length, Uint32Array.from(sizes)).rows;

function lengthsOf(texts: Rows<Example>): Uint32Array {
  const sizes = new Uint32Array(texts.length);
  let i = 0;
  for (const { ids } of each(texts)) sizes[i++] = ids.length;
  return sizes;
}

/** Where texts lie, in numbers that need little room: there may be more texts than fit into memory. */
interface Packing {
  readonly sizes: Uint32Array;
  /** Of each text its row, and the token of that row which it begins with. */
  readonly rowOf: Uint32Array;
  readonly startOf: Uint32Array;
  /** The texts row by row in the order in which they lie there, and how many stand before each row. */
  readonly texts: Uint32Array;
  readonly before: Uint32Array;
  readonly rows: number;
}

/** The texts of a row, in the order in which they lie there. */
const textsIn = ({ texts, before }: Packing, row: number): Uint32Array => texts.subarray(before[row], before[row + 1]);

/** A place for every text. One that is longer than a row has a row to itself. */
function pack(length: number, sizes: Uint32Array): Packing {
  const filled: number[] = [];
  /** The first row that may have room for so many tokens: rows before it have less. */
  const first = new Array<number>(length + 1).fill(0);
  const [rowOf, startOf] = [new Uint32Array(sizes.length), new Uint32Array(sizes.length)];
  const order = Uint32Array.from(sizes, (_, i) => i).sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b);
  for (const text of order) {
    const size = sizes[text] ?? 0;
    let row = first[size] ?? 0;
    while ((filled[row] ?? 0) > 0 && (filled[row] ?? 0) + size > length) row++;
    if (size <= length) first[size] = row;
    rowOf[text] = row;
    startOf[text] = filled[row] ?? 0;
    filled[row] = (filled[row] ?? 0) + size;
  }
  const before = new Uint32Array(filled.length + 1);
  for (const row of rowOf) before[row + 1] = (before[row + 1] ?? 0) + 1;
  for (let row = 0; row < filled.length; row++) before[row + 1] = (before[row + 1] ?? 0) + (before[row] ?? 0);
  const [texts, next] = [new Uint32Array(sizes.length), before.slice()];
  for (const text of order) {
    const row = rowOf[text] ?? 0;
    const place = next[row] ?? 0;
    texts[place] = text;
    next[row] = place + 1;
  }
  return { sizes, rowOf, startOf, texts, before, rows: filled.length };
}

function joined(texts: readonly Example[]): Example {
  let end = 0;
  const starts = texts.map(({ ids }) => (end += ids.length) - ids.length);
  const origins = texts.flatMap(({ origin }) => origin ?? []);
  const characters = texts.reduce((sum, text) => sum + (text.characters ?? NaN), 0);
  const typed = texts.some(({ types }) => types !== undefined);
  return {
    ids: texts.flatMap(({ ids }) => ids),
    labels: texts.flatMap(({ labels }) => labels),
    ...(typed && { types: texts.flatMap(({ ids, types }) => types ?? ids.map(() => 0)) }),
    starts,
    ...(origins.length > 0 && { origin: origins.slice(0, 3).join(", ") + (origins.length > 3 ? ", …" : "") }),
    ...(Number.isFinite(characters) && { characters }),
  };
}
