/** @file Packing: several short texts in one row, so that less of a batch is padding. */
import type { Example } from "./encode.ts";

/**
 * Rows of at most `length` tokens that hold all texts: each goes to the first row that has room for it, the longest first.
 * What a model learns does not change, for a text's tokens see none but its own (`packedLm`).
 * @see Krell et al. 2021, "first-fit decreasing"
 */
export function packRows(texts: readonly Example[], length: number): readonly Example[] {
  const rows: { readonly texts: number[]; room: number }[] = [];
  /** The first row that may have room for so many tokens: rows before it have less. */
  const first = new Array<number>(length + 1).fill(0);
  const sizes = texts.map(({ ids }) => ids.length);
  const order = [...texts.keys()].sort((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b);
  for (const text of order) {
    const size = sizes[text] ?? 0;
    let i = first[size] ?? 0;
    while ((rows[i]?.room ?? length) < size) i++;
    first[size] = i;
    const row = (rows[i] ??= { texts: [], room: Math.max(length, size) });
    row.texts.push(text);
    row.room -= size;
  }
  return rows.map((row) => joined(row.texts.map((text) => texts[text] as Example))); // numbers of texts
}

function joined(texts: readonly Example[]): Example {
  let end = 0;
  const starts = texts.map(({ ids }) => (end += ids.length) - ids.length);
  const origins = texts.flatMap(({ origin }) => origin ?? []);
  const characters = texts.reduce((sum, text) => sum + (text.characters ?? NaN), 0);
  return {
    ids: texts.flatMap(({ ids }) => ids),
    labels: texts.flatMap(({ labels }) => labels),
    starts,
    ...(origins.length > 0 && { origin: origins.slice(0, 3).join(", ") + (origins.length > 3 ? ", …" : "") }),
    ...(Number.isFinite(characters) && { characters }),
  };
}
