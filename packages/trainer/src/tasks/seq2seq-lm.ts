/** @file Writing a target after reading a source. @see Raffel et al. 2020; HF `T5ForConditionalGeneration`. */
import type { ModelInfo, TokenBatch } from "@graftml/peft";
import { IGNORE, slice } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError, TrainError } from "../errors.ts";
import { bitsPerCharacter, perplexity } from "../metrics/language.ts";
import type { Task } from "../task.ts";
import { checkKnown, checkTokens, labelRows, nameOf, tokenInputs, tokenLoss, tokensIn } from "./tokens.ts";

/** Writing a target after reading a source: `ids` are the source's tokens, `labels` the target's, which the decoder reads one late. */
export const seq2seqLm: Task<TokenBatch, Example> = {
  name: "seq2seq-lm",
  size: ({ ids, labels }) => ({ length: ids.length, target: labels.length }),
  check(row, name, facts) {
    const { model } = facts;
    const where = nameOf(name, row);
    startOf(model);
    checkTokens(row.ids, where, facts);
    if (row.labels.every((label) => label === IGNORE))
      throw new DataError(`${where} has no target to learn from. Drop it.`);
    checkKnown(row.labels, where, model);
  },
  collate(rows, shape, { model }) {
    const { batch, target = shape.length } = shape;
    const start = startOf(model);
    const { labels, counted } = labelRows(
      rows.map((row) => row.labels),
      batch,
      target,
    );
    // Label t is predicted by what reads label t − 1.
    const decoder = labels.map((_, i) => (i % target === 0 ? start : Math.max(0, labels[i - 1] ?? 0)));
    return {
      inputs: { ...tokenInputs(rows, shape), decoder_ids: decoder, labels },
      labels: counted,
      tokens: tokensIn(rows) + rows.reduce((sum, row) => sum + row.labels.length, 0),
    };
  },
  outcome(pass) {
    const { length, target = length } = pass.shape;
    const [, rows = 0] = pass.hidden.shape;
    return tokenLoss(pass, slice(pass.hidden, 1, rows - target, target));
  },
  figures: ({ loss, labels, rows }) => ({ ...perplexity(loss), ...bitsPerCharacter(loss, labels, rows) }),
};

/** The token that a decoder begins with. @throws {TrainError} for a model without one. */
function startOf({ decoderStart, architecture }: ModelInfo): number {
  if (decoderStart === undefined)
    throw new TrainError(`${architecture} has no decoder behind an encoder; seq2seq-lm needs one. Use causal-lm.`);
  return decoderStart;
}
