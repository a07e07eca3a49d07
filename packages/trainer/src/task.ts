/** @file What a model is trained for: how rows become a batch, and a forward pass becomes a loss. */
import type { Model, ModelInfo, Scope, TokenBatch } from "@graftml/peft";
import { IGNORE, linearCrossEntropy, reshape, slice, type Source, sum, type Tensor, type Trace } from "@graftml/tensor";
import type { Example } from "./encode.ts";
import { DataError } from "./errors.ts";

/** The shape that a program is compiled for. */
export interface BatchShape {
  /** Rows B. */
  readonly batch: number;
  /** Tokens T of a row, padding included. */
  readonly length: number;
  /** Rows that methods put before the T real ones (a prompt's virtual tokens); the model's hidden states are [B, lead + T, D]. */
  readonly lead: number;
}

/** Rows made into the inputs of a program. */
export interface Collated {
  /** Values by the names of the program's inputs. */
  readonly inputs: Readonly<Record<string, Source>>;
  /** What the loss is a mean over: label tokens, or examples. */
  readonly labels: number;
  /** Tokens, padding excluded. */
  readonly tokens: number;
}

/** A forward pass that is being traced. */
export interface Pass<Batch> {
  readonly trace: Trace;
  readonly scope: Scope;
  readonly model: Model<Batch>;
  readonly batch: Batch;
  readonly shape: BatchShape;
  /** What `model.forward` gave: [B, lead + T, D]. */
  readonly hidden: Tensor;
}

/** A task. Anything of this shape can be one. */
export interface Task<Batch, Row> {
  readonly name: string;
  /** Tokens of a row. */
  length(row: Row): number;
  /** @throws {DataError} if a row cannot be used. `name` says which one it is: "row 17". */
  check(row: Row, name: string, facts: { readonly model: ModelInfo; readonly lead: number }): void;
  /** At most B rows; what is missing is filled up with rows that do not count. */
  collate(rows: readonly Row[], shape: BatchShape): Collated;
  /** Sum of the losses of all labels → []. */
  loss(pass: Pass<Batch>): Tensor;
}

/**
 * Predicting the next token.
 *
 * The shift by one happens when rows are collated: column t of the labels is the label of token t + 1. Virtual tokens in
 * front make the first token a label too, predicted from the last of them, and then column t is the label of token t.
 */
export const causalLm: Task<TokenBatch, Example> = {
  name: "causal-lm",
  length: ({ ids }) => ids.length,
  check(row, name, { model, lead }) {
    const where = row.origin === undefined ? name : `${name} (${row.origin})`;
    const { ids, labels } = row;
    if (ids.length !== labels.length)
      throw new DataError(`${where} has ${ids.length} tokens and ${labels.length} labels.`);
    const odd = [...ids, ...labels.filter((l) => l !== IGNORE)].find(
      (id) => !Number.isInteger(id) || id < 0 || id >= model.vocabulary,
    );
    if (odd !== undefined)
      throw new DataError(
        `${where} has the token ${odd}; this model knows 0 … ${model.vocabulary - 1}. Is the tokenizer another model's?`,
      );
    if (ids.length > model.maxLength)
      throw new DataError(
        `${where} has ${ids.length} tokens; this model tells ${model.maxLength} positions apart. Lower data.max_length.`,
      );
    if (labels.slice(first(lead)).every((label) => label === IGNORE))
      throw new DataError(
        `${where} has no label to learn from: of its ${ids.length} token(s) all are padding, prompt or the first. Drop it, shorten its prompt, or raise data.max_length.`,
      );
  },
  collate(rows, { batch, length, lead }) {
    const ids = new Int32Array(batch * length);
    const mask = new Float32Array(batch * length);
    const labels = new Int32Array(batch * length).fill(IGNORE);
    let [counted, tokens] = [0, 0];
    for (let b = 0; b < batch; b++) {
      const row = rows[b];
      // A row that is all padding still sees its first token, or attention over nothing would be no number.
      mask.fill(1, b * length, b * length + (row?.ids.length ?? 1));
      if (row === undefined) continue;
      const shifted = row.labels.slice(first(lead));
      ids.set(row.ids, b * length);
      labels.set(shifted, b * length);
      counted += shifted.filter((label) => label !== IGNORE).length;
      tokens += row.ids.length;
    }
    return { inputs: { ids, mask, labels }, labels: counted, tokens };
  },
  loss({ trace, scope, model, batch: read, hidden, shape: { batch, length, lead } }) {
    const rows = slice(hidden, 1, lead === 0 ? 0 : lead - 1, length); // [B, T, D]: row t predicts column t
    const flat = reshape(rows, [batch * length, rows.shape.at(-1) ?? 0]); // [B·T, D]
    const labels = trace.input("labels", [batch * length], "i32");
    const head = (h: Tensor): Tensor => model.head(scope, h, read);
    return sum(linearCrossEntropy(flat, labels, { vocabulary: model.info.vocabulary, head }));
  },
};

/** The first token that is predicted: nothing stands before token 0 unless something leads. */
const first = (lead: number): number => (lead === 0 ? 1 : 0);
