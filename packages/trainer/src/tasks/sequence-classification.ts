/** @file Judging a whole text, or a pair of texts: its class, all that apply of several, or with a head of one output its score. */
import type { ModelInfo, TokenBatch } from "@graftml/peft";
import { crossEntropy, mul, reshape, softplus, square, sub, sum } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError } from "../errors.ts";
import { classFigures, likeliest, severalFigures } from "../metrics/classes.ts";
import { scoreFigures } from "../metrics/correlation.ts";
import { each } from "../rows.ts";
import type { Task } from "../task.ts";
import { checkClass, checkTokens, classLabels, laidOut, nameOf, refuseLead, tokensIn } from "./tokens.ts";

/** As in transformers, a head of one output is regression: the loss is the squared error. */
const scores = ({ labels }: ModelInfo): boolean => labels === 1;

/** Whether a text may have several classes, each of which is judged by itself: as transformers has it in config.json. */
export const multiLabel = ({ config }: ModelInfo): boolean => config["problem_type"] === "multi_label_classification";

/**
 * Judging a text: `labels` holds one number, the class or the score; where a text may have several classes, a 1 for each that
 * it has and a 0 for each other. The loss is a mean over examples, there also over classes.
 */
export const sequenceClassification: Task<TokenBatch, Example> = {
  name: "sequence-classification",
  size: ({ ids }) => ({ length: ids.length }),
  check(row, name, facts) {
    const { model } = facts;
    const where = nameOf(name, row);
    checkTokens(row.ids, where, facts);
    const [label] = row.labels;
    if (multiLabel(model)) checkEach(row.labels, where, model);
    else if (!scores(model)) checkClass(label, where, model);
    else if (!Number.isFinite(label)) throw new DataError(`${where} has the score ${label}; it must be a number.`);
  },
  collate(rows, shape, { model }) {
    const { batch, texts = batch } = shape;
    if (multiLabel(model)) {
      const has = new Float32Array(texts * model.labels);
      rows.forEach((row, b) => has.set(row.labels, b * model.labels));
      const inputs = { has, counts: countsOf(rows, texts) };
      const labels = rows.length * model.labels;
      return { inputs: { ...laidOut(rows, shape).inputs, ...inputs }, labels, tokens: tokensIn(rows) };
    }
    const inputs = scores(model)
      ? {
          scores: Float32Array.from({ length: texts }, (_, b) => rows[b]?.labels[0] ?? 0),
          counts: countsOf(rows, texts),
        }
      : { labels: classLabels(rows, texts) };
    return { inputs: { ...laidOut(rows, shape).inputs, ...inputs }, labels: rows.length, tokens: tokensIn(rows) };
  },
  outcome({ trace, scope, model, batch: read, hidden, shape: { batch, texts = batch } }) {
    const predictions = model.head(scope, hidden, read); // [texts, labels]
    if (multiLabel(model.info)) {
      const has = trace.input("has", [texts, model.info.labels]);
      // −log σ(x) where the class applies, −log σ(−x) where it does not.
      const losses = sub(softplus(predictions), mul(has, predictions));
      return { loss: sum(mul(losses, trace.input("counts", [texts, 1]))), predictions };
    }
    if (!scores(model.info))
      return { loss: sum(crossEntropy(predictions, trace.input("labels", [texts], "i32"))), predictions };
    const gap = sub(reshape(predictions, [texts]), trace.input("scores", [texts]));
    return { loss: sum(mul(square(gap), trace.input("counts", [texts]))), predictions };
  },
  figures({ rows, predictions, model }) {
    if (multiLabel(model))
      return severalFigures(
        Array.from(each(rows), ({ labels }) => labels),
        predictions.map((scores) => Array.from(scores, (score) => (score > 0 ? 1 : 0))),
      );
    const wanted = Array.from(each(rows), ({ labels: [label = 0] }) => label);
    return scores(model)
      ? scoreFigures(
          wanted,
          predictions.map(([score = 0]) => score),
        )
      : classFigures(wanted, predictions.map(likeliest), model.labels);
  },
};

/** 1 for each text that there is, of as many as a batch has. */
const countsOf = (rows: readonly Example[], texts: number): Float32Array =>
  Float32Array.from({ length: texts }, (_, b) => (b < rows.length ? 1 : 0));

function checkEach(labels: readonly number[], where: string, { labels: classes }: ModelInfo): void {
  if (labels.length !== classes || labels.some((label) => label !== 0 && label !== 1))
    throw new DataError(
      `${where} has the labels ${labels.join(" ")}; it must have a 0 or a 1 for each of ${classes} classes.`,
    );
}

/** The same where the texts of a batch share rows: no figure changes, and less of the batch is padding. */
export const packedSequenceClassification: Task<TokenBatch, Example> = {
  ...sequenceClassification,
  packed: "batch",
  check(row, name, facts) {
    refuseLead(facts.lead);
    sequenceClassification.check(row, name, facts);
  },
};
