/** @file What models of each task are put through: one pass, and rows to learn. */
import type { Model, TokenBatch } from "@graftml/peft";
import type { Source } from "@graftml/tensor";
import { causalLm, type Example, seq2seqLm, sequenceClassification, type Task } from "@graftml/trainer";

/** Rows, tokens and, behind an encoder, tokens of a decoder of every pass but the trainer's. */
export const passSize = { batch: 2, length: 5, target: 4 } as const;

/** The inputs of a pass, whatever of them a model reads. The last token of the second row is padding. */
export const passInputs: Readonly<Record<string, Source>> = {
  ids: [3, 1, 4, 1, 5, 9, 2, 6, 5, 3],
  mask: [1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
  types: [0, 0, 1, 1, 1, 0, 1, 1, 1, 0],
  decoder_ids: [0, 7, 2, 8, 0, 1, 6, 1],
};

/** How a model is trained. */
export interface Exercise {
  readonly task: Task<TokenBatch, Example>;
  /** Labels of a pass, one for each row of its logits. */
  readonly labels: readonly number[];
  /** Four short rows to learn by heart. */
  readonly rows: readonly Example[];
}

const texts = [
  [3, 1, 4, 1, 5, 9],
  [2, 7, 1, 8],
  [1, 6, 1, 8, 0],
  [11, 12],
];

const exercises: Readonly<Record<string, Exercise>> = {
  "causal-lm": {
    task: causalLm,
    labels: [1, 4, 1, 5, 9, 2, 6, 5, 3, 5],
    rows: texts.map((ids) => ({ ids, labels: ids })),
  },
  "sequence-classification": {
    task: sequenceClassification,
    labels: [2, 0],
    rows: texts.map((ids, i) => ({ ids, labels: [[2, 0, 1, 0][i] ?? 0] })),
  },
  "seq2seq-lm": {
    task: seq2seqLm,
    labels: [7, 2, 8, 1, 1, 6, 1, 8],
    rows: texts.map((ids, i) => ({ ids, labels: texts[3 - i] ?? [] })),
  },
};

/** The exercise of a model's task. @throws {TypeError} if there is none. */
export function exerciseOf({ info: { task } }: Model): Exercise {
  const exercise = exercises[task];
  if (exercise === undefined)
    throw new TypeError(`there is no exercise for ${task}; there are: ${Object.keys(exercises).join(", ")}.`);
  return exercise;
}
