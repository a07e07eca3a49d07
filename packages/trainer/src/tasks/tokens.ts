/** @file What all tasks on tokens share: checking rows and laying them side by side. */
import type { ModelInfo, TokenBatch } from "@graftml/peft";
import { IGNORE, linearCrossEntropy, reshape, type Source, sum, type Tensor } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError, TrainError } from "../errors.ts";
import { packBatch } from "../packing.ts";
import type { BatchShape, Collated, Outcome, Pass, RowFacts } from "../task.ts";

/** A row in words: its number and where it comes from. */
export const nameOf = (name: string, { origin }: { readonly origin?: string }): string =>
  origin === undefined ? name : `${name} (${origin})`;

/** @throws {DataError} for a token that the model does not know; labels that do not count are none. */
export function checkKnown(ids: readonly number[], where: string, { vocabulary }: ModelInfo): void {
  const odd = ids.find((id) => id !== IGNORE && (!Number.isInteger(id) || id < 0 || id >= vocabulary));
  if (odd !== undefined)
    throw new DataError(
      `${where} has the token ${odd}; this model knows 0 … ${vocabulary - 1}. Is the tokenizer another model's?`,
    );
}

/** @throws {DataError} for a token that the model does not know, for none, or for more than it tells apart. */
export function checkTokens(ids: readonly number[], where: string, { model, room }: RowFacts): void {
  const { maxLength } = model;
  checkKnown(ids, where, model);
  if (ids.length > room)
    throw new DataError(
      `${where} has ${ids.length} tokens; this model tells ${maxLength} positions apart${room < maxLength ? `, of which methods take ${maxLength - room}` : ""}. Lower data.max_length.`,
    );
  if (ids.length === 0) throw new DataError(`${where} has no tokens. Drop it.`);
}

/** @throws {DataError} for a label that is no class of the head. */
export function checkClass(label: number | undefined, where: string, { labels }: ModelInfo): void {
  if (label === undefined || !Number.isInteger(label) || label < 0 || label >= labels)
    throw new DataError(`${where} has the label ${label}; the classes of this model are 0 … ${labels - 1}.`);
}

/**
 * Token ids and token types i32 [B, T], padded on the right with zeros, and the mask [B, T]. A row that is all padding still
 * sees its first token, or attention over nothing would be no number.
 */
export function tokenInputs(
  rows: readonly Example[],
  { batch, length }: BatchShape,
): { readonly ids: Int32Array; readonly types: Int32Array; readonly mask: Float32Array } {
  const [ids, types] = [new Int32Array(batch * length), new Int32Array(batch * length)];
  const mask = new Float32Array(batch * length);
  for (let b = 0; b < batch; b++) {
    const row = rows[b];
    mask.fill(1, b * length, b * length + (row?.ids.length ?? 1));
    if (row === undefined) continue;
    ids.set(row.ids, b * length);
    if (row.types !== undefined) types.set(row.types, b * length);
  }
  return { ids, types, mask };
}

/**
 * The texts of a batch as its rows and their inputs: those of `tokenInputs`, and where texts share rows "positions", and each
 * text's first and last token as "starts" and "ends", counted over all rows.
 */
export function laidOut(
  texts: readonly Example[],
  shape: BatchShape,
): { readonly rows: readonly Example[]; readonly inputs: Collated["inputs"] } {
  const { texts: count } = shape;
  if (count === undefined) return { rows: texts, inputs: tokenInputs(texts, shape) };
  const { rows, starts, ends } = packBatch(texts, shape.length);
  const read = tokenInputs(rows, shape);
  const places = (of: readonly number[]): Int32Array => {
    const all = new Int32Array(count); // texts that are missing count for nothing: any token will do
    all.set(of);
    return all;
  };
  const positions = numberTexts(rows, read.mask, shape.length);
  return { rows, inputs: { ...read, positions, starts: places(starts), ends: places(ends) } };
}

/** Tokens of rows, padding excluded. */
export const tokensIn = (rows: readonly Example[]): number => rows.reduce((sum, { ids }) => sum + ids.length, 0);

/** Lists of labels as rows [B, U], padded with labels that do not count. */
export function labelRows(
  lists: readonly (readonly number[])[],
  batch: number,
  length: number,
): { readonly labels: Int32Array; readonly counted: number } {
  const labels = new Int32Array(batch * length).fill(IGNORE);
  lists.forEach((list, b) => labels.set(list, b * length));
  return { labels, counted: labels.reduce((n, label) => (label === IGNORE ? n : n + 1), 0) };
}

/** Sum of the losses of predicting the input "labels" from rows of hidden states [B, U, D], without ever holding all logits. */
export function tokenLoss({ trace, scope, model, batch }: Pass<TokenBatch>, rows: Tensor): Outcome {
  const [B = 0, U = 0, D = 0] = rows.shape;
  const labels = trace.input("labels", [B * U], "i32");
  const { vocabulary } = model.info;
  const head = (h: Tensor): Tensor => model.head(scope, h, batch);
  return { loss: sum(linearCrossEntropy(reshape(rows, [B * U, D]), labels, { vocabulary, head })) };
}

/** The class of every row as labels i32 [B]; rows that are missing do not count. */
export const classLabels = (rows: readonly { readonly labels: readonly number[] }[], batch: number): Source =>
  labelRows(
    rows.map(({ labels }) => labels.slice(0, 1)),
    batch,
    1,
  ).labels;

/** Numbers the texts of every row in its mask, from 1, and counts positions anew in each: i32 [B, T]. */
export function numberTexts(rows: readonly Example[], mask: Float32Array, length: number): Int32Array {
  const positions = new Int32Array(mask.length);
  rows.forEach(({ ids, starts = [0] }, b) =>
    starts.forEach((start, i) => {
      const end = starts[i + 1] ?? ids.length;
      mask.fill(i + 1, b * length + start, b * length + end);
      for (let t = start; t < end; t++) positions[b * length + t] = t - start;
    }),
  );
  return positions;
}

/** @throws {TrainError} if methods put rows before the real ones: where texts share a row they have no place. */
export function refuseLead(lead: number): void {
  if (lead > 0)
    throw new TrainError(
      "packed rows have no place for the virtual tokens of a prompt before each text. Set data.pack: false, or use prefix tuning.",
    );
}
