/** @file Judging every word of a text: parts of speech, names. */
import type { TokenBatch } from "@graftml/peft";
import { crossEntropy, IGNORE, reshape, slice, sum } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError } from "../errors.ts";
import { accuracy, likeliest } from "../metrics/classes.ts";
import { isIob, spanFigures } from "../metrics/spans.ts";
import { each } from "../rows.ts";
import type { Task } from "../task.ts";
import { checkClass, checkTokens, labelRows, nameOf, tokenInputs, tokensIn } from "./tokens.ts";

/**
 * Judging every word: a word's first piece has its class as label, all other tokens −100. The loss is a mean over words.
 * @param names of the classes; where they are tags such as "B-PER", figures are of spans as well.
 */
export const tokenClassification = (names: readonly string[]): Task<TokenBatch, Example> => ({
  name: "token-classification",
  size: ({ ids }) => ({ length: ids.length }),
  check(row, name, facts) {
    const { model } = facts;
    const where = nameOf(name, row);
    const { ids, labels } = row;
    checkTokens(ids, where, facts);
    if (ids.length !== labels.length)
      throw new DataError(`${where} has ${ids.length} tokens and ${labels.length} labels.`);
    const classes = labels.filter((label) => label !== IGNORE);
    if (classes.length === 0) throw new DataError(`${where} has no word to learn from. Drop it.`);
    for (const label of classes) checkClass(label, where, model);
  },
  collate(rows, shape) {
    const { labels, counted } = labelRows(
      rows.map((row) => row.labels),
      shape.batch,
      shape.length,
    );
    return { inputs: { ...tokenInputs(rows, shape), labels }, labels: counted, tokens: tokensIn(rows) };
  },
  outcome({ trace, scope, model, batch: read, hidden, shape: { batch, length, lead } }) {
    const predictions = model.head(scope, slice(hidden, 1, lead, length), read); // [B, T, labels]
    const flat = reshape(predictions, [batch * length, model.info.labels]);
    return { loss: sum(crossEntropy(flat, trace.input("labels", [batch * length], "i32"))), predictions };
  },
  figures({ rows, predictions, model: { labels: classes } }) {
    const words = Array.from(each(rows), ({ labels }) =>
      labels.flatMap((label, t) => (label === IGNORE ? [] : [{ label, t }])),
    );
    const wanted = words.map((row) => row.map(({ label }) => label));
    const found = words.map((row, i) =>
      row.map(({ t }) => likeliest(predictions[i]?.subarray(t * classes, (t + 1) * classes) ?? [])),
    );
    const tags = (lists: readonly (readonly number[])[]): readonly (readonly string[])[] =>
      lists.map((list) => list.map((label) => names[label] ?? "O"));
    const spans = isIob(names) ? spanFigures(tags(wanted), tags(found)) : {};
    return { accuracy: accuracy(wanted.flat(), found.flat()), ...spans };
  },
});
