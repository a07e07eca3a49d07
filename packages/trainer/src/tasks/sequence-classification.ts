/** @file Judging a whole text, or a pair of texts: its class, or with a head of one output its score. */
import type { ModelInfo, TokenBatch } from "@graftml/peft";
import { crossEntropy, mul, reshape, square, sub, sum } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError } from "../errors.ts";
import { classFigures, likeliest } from "../metrics/classes.ts";
import { scoreFigures } from "../metrics/correlation.ts";
import { each } from "../rows.ts";
import type { Task } from "../task.ts";
import { checkClass, checkTokens, classLabels, laidOut, nameOf, refuseLead, tokensIn } from "./tokens.ts";

/** As in transformers, a head of one output is regression: the loss is the squared error. */
const scores = ({ labels }: ModelInfo): boolean => labels === 1;

/** Judging a text: `labels` holds one number, the class or the score. The loss is a mean over examples. */
export const sequenceClassification: Task<TokenBatch, Example> = {
  name: "sequence-classification",
  size: ({ ids }) => ({ length: ids.length }),
  check(row, name, facts) {
    const { model } = facts;
    const where = nameOf(name, row);
    checkTokens(row.ids, where, facts);
    const [label] = row.labels;
    if (!scores(model)) checkClass(label, where, model);
    else if (!Number.isFinite(label)) throw new DataError(`${where} has the score ${label}; it must be a number.`);
  },
  collate(rows, shape, { model }) {
    const { batch, texts = batch } = shape;
    const inputs = scores(model)
      ? {
          scores: Float32Array.from({ length: texts }, (_, b) => rows[b]?.labels[0] ?? 0),
          counts: Float32Array.from({ length: texts }, (_, b) => (b < rows.length ? 1 : 0)),
        }
      : { labels: classLabels(rows, texts) };
    return { inputs: { ...laidOut(rows, shape).inputs, ...inputs }, labels: rows.length, tokens: tokensIn(rows) };
  },
  outcome({ trace, scope, model, batch: read, hidden, shape: { batch, texts = batch } }) {
    const predictions = model.head(scope, hidden, read); // [texts, labels]
    if (!scores(model.info))
      return { loss: sum(crossEntropy(predictions, trace.input("labels", [texts], "i32"))), predictions };
    const gap = sub(reshape(predictions, [texts]), trace.input("scores", [texts]));
    return { loss: sum(mul(square(gap), trace.input("counts", [texts]))), predictions };
  },
  figures({ rows, predictions, model }) {
    const wanted = Array.from(each(rows), ({ labels: [label = 0] }) => label);
    return scores(model)
      ? scoreFigures(
          wanted,
          predictions.map(([score = 0]) => score),
        )
      : classFigures(wanted, predictions.map(likeliest), model.labels);
  },
};

/** The same where the texts of a batch share rows: no figure changes, and less of the batch is padding. */
export const packedSequenceClassification: Task<TokenBatch, Example> = {
  ...sequenceClassification,
  packed: "batch",
  check(row, name, facts) {
    refuseLead(facts.lead);
    sequenceClassification.check(row, name, facts);
  },
};
