/** @file Predicting the next token. */
import type { TokenBatch } from "@graftml/peft";
import { IGNORE, slice } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError } from "../errors.ts";
import { bitsPerCharacter, perplexity } from "../metrics/language.ts";
import type { Task } from "../task.ts";
import {
  checkKnown,
  checkTokens,
  labelRows,
  nameOf,
  numberTexts,
  refuseLead,
  tokenInputs,
  tokenLoss,
  tokensIn,
} from "./tokens.ts";

/**
 * Predicting the next token.
 *
 * The shift by one happens when rows are collated: column t of the labels is the label of token t + 1. Virtual tokens in
 * front make the first token a label too, predicted from the last of them, and then column t is the label of token t.
 */
export const causalLm: Task<TokenBatch, Example> = {
  name: "causal-lm",
  size: ({ ids }) => ({ length: ids.length }),
  check(row, name, facts) {
    const { model, lead } = facts;
    const where = nameOf(name, row);
    const { ids, labels, starts } = row;
    if (ids.length !== labels.length)
      throw new DataError(`${where} has ${ids.length} tokens and ${labels.length} labels.`);
    checkTokens(ids, where, facts);
    checkKnown(labels, where, model);
    if (starts !== undefined) refuseLead(lead);
    if (learnt(row, lead).every((label) => label === IGNORE))
      throw new DataError(
        `${where} has no label to learn from: of its ${ids.length} token(s) all are padding, prompt or the first. Drop it, shorten its prompt, or raise data.max_length.`,
      );
  },
  collate(rows, shape) {
    const { batch, length, lead } = shape;
    const { ids, types, mask } = tokenInputs(rows, shape);
    const { labels, counted } = labelRows(
      rows.map((row) => learnt(row, lead)),
      batch,
      length,
    );
    const packed = shape.packed === true ? { positions: numberTexts(rows, mask, length) } : {};
    return { inputs: { ids, types, mask, labels, ...packed }, labels: counted, tokens: tokensIn(rows) };
  },
  // Row t predicts column t; where something leads, the first row is the last of that.
  outcome: (pass) => tokenLoss(pass, slice(pass.hidden, 1, Math.max(0, pass.shape.lead - 1), pass.shape.length)),
  figures: ({ loss, labels, rows }) => ({ ...perplexity(loss), ...bitsPerCharacter(loss, labels, rows) }),
};

/** Predicting the next token where several texts share a row (`packRows`): each is seen by its own tokens only. */
export const packedLm: Task<TokenBatch, Example> = { ...causalLm, packed: "data" };

/** Labels by column. Nothing stands before the first token of a text, unless something leads, so nothing predicts it. */
const learnt = ({ labels, starts = [0] }: Example, lead: number): readonly number[] =>
  lead > 0 ? labels : labels.map((label, t) => (starts.includes(t) ? IGNORE : label)).slice(1);
