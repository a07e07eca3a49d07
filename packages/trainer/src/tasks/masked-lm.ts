/** @file Predicting tokens that were hidden. @see Devlin et al. 2019 §3.1; HF `DataCollatorForLanguageModeling`. */
import type { TokenBatch } from "@graftml/peft";
import { IGNORE, keyOf, slice, uniformAt } from "@graftml/tensor";
import type { Example } from "../encode.ts";
import { DataError } from "../errors.ts";
import { perplexity } from "../metrics/language.ts";
import type { Draw, Task } from "../task.ts";
import { checkTokens, labelRows, laidOut, nameOf, refuseLead, tokenLoss, tokensIn } from "./tokens.ts";

/** How tokens are hidden. */
export interface Masking {
  /** The token that stands for a hidden one. */
  readonly mask: number;
  /** Tokens that are never hidden, such as those of the tokenizer's template. */
  readonly special: ReadonlySet<number>;
  /** Share of tokens that are to be predicted; default 0.15. */
  readonly rate?: number;
  /** Whether the texts of a batch share rows: no figure changes, and less of the batch is padding. Default false. */
  readonly packed?: boolean;
}

/** Of the tokens to be predicted so many are hidden; half of the others become a random token, the rest stay. */
const HIDDEN = 0.8;

const noise = keyOf("masked tokens");

/**
 * Predicting tokens that were hidden. Which ones is drawn anew in every epoch from seed, epoch and the row's number; rows that
 * bring labels are taken as they are.
 */
export function maskedLm({ mask, special, rate = 0.15, packed = false }: Masking): Task<TokenBatch, Example> {
  /** A row with some of its tokens hidden, and what they were. */
  const hide = (row: Example, vocabulary: number, { seed, epoch }: Draw, number: number): Example => {
    if (row.labels.length > 0) return row;
    const key = keyOf(`${noise} ${number}`);
    const draw = (t: number, i: number): number => uniformAt(seed, epoch, key, 3 * t + i);
    const chosen = row.ids.map((id, t) => !special.has(id) && draw(t, 0) < rate);
    const instead = (id: number, t: number): number => {
      const u = draw(t, 1);
      return u < HIDDEN ? mask : u < (1 + HIDDEN) / 2 ? Math.floor(draw(t, 2) * vocabulary) : id;
    };
    return {
      ...row,
      ids: row.ids.map((id, t) => (chosen[t] === true ? instead(id, t) : id)),
      labels: row.ids.map((id, t) => (chosen[t] === true ? id : IGNORE)),
    };
  };
  return {
    name: "masked-lm",
    ...(packed && { packed: "batch" }),
    size: ({ ids }) => ({ length: ids.length }),
    check(row, name, facts) {
      const where = nameOf(name, row);
      const { ids, labels } = row;
      checkTokens(ids, where, facts);
      if (packed) refuseLead(facts.lead);
      if (labels.length !== 0 && labels.length !== ids.length)
        throw new DataError(`${where} has ${ids.length} tokens and ${labels.length} labels.`);
      if (labels.length === 0 && ids.every((id) => special.has(id)))
        throw new DataError(`${where} has no token that could be hidden: its ${ids.length} are special. Drop it.`);
    },
    collate(rows, shape, { model, draw }) {
      const hidden = rows.map((row, b) => hide(row, model.vocabulary, draw, draw.numbers[b] ?? b));
      const laid = laidOut(hidden, shape);
      const { labels, counted } = labelRows(
        laid.rows.map((row) => row.labels),
        shape.batch,
        shape.length,
      );
      return { inputs: { ...laid.inputs, labels }, labels: counted, tokens: tokensIn(rows) };
    },
    outcome: (pass) => tokenLoss(pass, slice(pass.hidden, 1, pass.shape.lead, pass.shape.length)),
    figures: ({ loss }) => perplexity(loss),
  };
}
