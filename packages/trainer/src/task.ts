/** @file What a model is trained for: how rows become a batch, a forward pass becomes a loss, and a whole set figures. */
import type { BatchSize, Model, ModelInfo, Scope } from "@graftml/peft";
import type { Source, Tensor, Trace, Values } from "@graftml/tensor";
import type { Rows } from "./rows.ts";

/** What a row takes, padding excluded. */
export interface RowSize {
  /** Tokens T. */
  readonly length: number;
  /** Tokens U of what a decoder behind an encoder reads; absent where there is none. */
  readonly target?: number;
}

/** The shape that a program is compiled for. */
export interface BatchShape extends BatchSize {
  /** Rows that methods put before the real ones (a prompt's virtual tokens); the model's hidden states are [B, lead + T, D]. */
  readonly lead: number;
}

/** What the random choices of a batch are a function of, so that they do not depend on which rows share it. */
export interface Draw {
  readonly seed: number;
  readonly epoch: number;
  /** Each row's number in its set. */
  readonly numbers: readonly number[];
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

/** What a forward pass comes to. */
export interface Outcome {
  /** Sum of the losses of all labels → []. */
  readonly loss: Tensor;
  /** What figures are made from, [B, …]; absent where the loss says it all. Only computed when evaluating. */
  readonly predictions?: Tensor;
}

/** A whole set of rows, judged. */
export interface Judged<Row> {
  readonly rows: Rows<Row>;
  /** Each row's predictions; empty arrays where the task has none. */
  readonly predictions: readonly Values[];
  /** Mean over all labels of the set. */
  readonly loss: number;
  readonly labels: number;
  readonly model: ModelInfo;
}

/** Figures by name, "accuracy". */
export type Figures = Readonly<Record<string, number>>;

/** What decides whether a row can be used. */
export interface RowFacts {
  readonly model: ModelInfo;
  /** Rows that methods put before the real ones. */
  readonly lead: number;
  /** Tokens that a row may have: the model's positions, less those that methods take. */
  readonly room: number;
}

/** A task. Anything of this shape can be one. */
export interface Task<Batch, Row> {
  readonly name: string;
  /**
   * Where several texts share a row: "data" if rows come that way (`packRows`), "batch" if each batch is packed as it is
   * collated, into as many rows as its texts need. Absent: nowhere.
   */
  readonly packed?: "data" | "batch";
  size(row: Row): RowSize;
  /** @throws {DataError} if a row cannot be used. `name` says which one it is: "row 17". */
  check(row: Row, name: string, facts: RowFacts): void;
  /** At most as many rows as a batch has, or texts where they share rows; what is missing is filled up with what does not count. */
  collate(rows: readonly Row[], shape: BatchShape, facts: { readonly model: ModelInfo; readonly draw: Draw }): Collated;
  outcome(pass: Pass<Batch>): Outcome;
  /** Figures over a whole set, beside its loss. */
  figures(judged: Judged<Row>): Figures;
}
