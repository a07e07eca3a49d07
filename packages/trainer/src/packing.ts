/** @file Packing: several short texts in one row, so that less of a batch is padding. */
import type { Example } from "./encode.ts";

/**
 * Rows of at most `length` tokens that hold all texts: each goes to the first row that has room for it, the longest first.
 * What a model learns does not change, for a text's tokens see none but its own (`packedLm`).
 * @see Krell et al. 2021, "first-fit decreasing"
 */
export const packRows = (texts: readonly Example[], length: number): readonly Example[] =>
  rowsOf(texts, placesIn(length, lengthsOf(texts)));

/** Texts of a batch in shared rows. */
export interface Packed {
  readonly rows: readonly Example[];
  /** Where each text begins and the token that it ends with, both counted over all rows of `length` tokens. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Packs the texts of a batch, and says where each came to lie. */
export function packBatch(texts: readonly Example[], length: number): Packed {
  const sizes = lengthsOf(texts);
  const places = placesIn(length, sizes);
  const starts = places.map(({ row, start }) => row * length + start);
  return { rows: rowsOf(texts, places), starts, ends: starts.map((start, i) => start + (sizes[i] ?? 0) - 1) };
}

/** How many rows of `length` tokens hold texts of these sizes. */
export const rowsFor = (sizes: readonly number[], length: number): number =>
  placesIn(length, sizes).reduce((most, { row }) => Math.max(most, row + 1), 0);

const lengthsOf = (texts: readonly Example[]): readonly number[] => texts.map(({ ids }) => ids.length);

/** Where a text lies: its row, and the token of that row which it begins with. */
interface Place {
  readonly row: number;
  readonly start: number;
}

/** A place for every text. One that is longer than a row has a row to itself. */
function placesIn(length: number, sizes: readonly number[]): readonly Place[] {
  const filled: number[] = [];
  /** The first row that may have room for so many tokens: rows before it have less. */
  const first = new Array<number>(length + 1).fill(0);
  const places = sizes.map((): Place => ({ row: 0, start: 0 }));
  const order = [...sizes.keys()].sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b);
  for (const text of order) {
    const size = sizes[text] ?? 0;
    let row = first[size] ?? 0;
    while ((filled[row] ?? 0) > 0 && (filled[row] ?? 0) + size > length) row++;
    if (size <= length) first[size] = row;
    const start = filled[row] ?? 0;
    places[text] = { row, start };
    filled[row] = start + size;
  }
  return places;
}

/** The texts of every row, joined in the order in which they lie there. */
function rowsOf(texts: readonly Example[], places: readonly Place[]): readonly Example[] {
  const rows: (readonly [start: number, text: Example])[][] = [];
  texts.forEach((text, i) => {
    const { row = 0, start = 0 } = places[i] ?? {};
    (rows[row] ??= []).push([start, text]);
  });
  return rows.map((row) => joined(row.sort(([a], [b]) => a - b).map(([, text]) => text)));
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
