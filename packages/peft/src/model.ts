/** @file What a model is to methods and trainers: a pure function over a scope and a batch. */
import type { DType, Shape, Source, Tensor, Trace } from "@graftml/tensor";
import type { Scope } from "./scope.ts";

/** What a model reads, with what it needs to know of it. */
export interface TokenBatch {
  /** Token ids, i32 [B, T]; of an image model the pixels, f32 [B, channels, rows, columns]. */
  readonly ids: Tensor;
  /** i32 [B or 1, T]; null: 0 … T − 1. */
  readonly positions: Tensor | null;
  /**
   * [B, T], 0 at padding; null where padding cannot be seen (causal models padded on the right). In a packed batch the
   * numbers 1, 2, … of the texts that share a row.
   */
  readonly mask: Tensor | null;
  /** Whether several texts share a row; default false. */
  readonly packed?: boolean;
  /**
   * Where several texts share a row and each is judged as a whole: the token that it is judged by, counted over all B·T,
   * i32 [texts].
   */
  readonly judged?: Tensor;
  /** Which text of a pair a token belongs to, i32 [B, T]; absent: the first. */
  readonly types?: Tensor | null;
  /** What the decoder of an encoder-decoder reads: token ids, i32 [B, U]. */
  readonly decoder?: Tensor | null;
}

/** Size of a batch that a model is to be traced for. */
export interface BatchSize {
  /** Rows B. */
  readonly batch: number;
  /** Tokens T of a row, padding included; an image model knows its own. */
  readonly length: number;
  /** Tokens U that the decoder of an encoder-decoder reads; absent: as many as T. */
  readonly target?: number | undefined;
  /** Whether several texts share a row; default false. */
  readonly packed?: boolean | undefined;
  /** Texts that are judged as wholes, where several share a row; absent: as many as rows. */
  readonly texts?: number | undefined;
}

/** Facts of a model that methods and files need. */
export interface ModelInfo {
  /** `model_type` of its config.json. */
  readonly type: string;
  /** The class that transformers loads it with, "LlamaForCausalLM". */
  readonly architecture: string;
  /** What it is built for, by the names of run files: "causal-lm", "sequence-classification". */
  readonly task: string;
  /** Outputs of a task's head; 0 where the head predicts tokens. */
  readonly labels: number;
  /** First token of what a decoder reads, where an encoder stands before it; absent elsewhere. */
  readonly decoderStart?: number;
  readonly layers: number;
  /** Width of hidden states. */
  readonly hidden: number;
  readonly heads: number;
  readonly keyHeads: number;
  /** Width of one head. */
  readonly headWidth: number;
  readonly vocabulary: number;
  /** Positions it can tell apart. */
  readonly maxLength: number;
  /** config.json as read. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** A model: a description and a forward pass, without weights. */
export interface Model<Batch = TokenBatch> {
  readonly info: ModelInfo;
  /** The inputs of a run, as leaves of the trace. */
  inputs(trace: Trace, size: BatchSize): Batch;
  /** Hidden states [B, T', D] after the last norm; the real tokens are the last T rows. Of an encoder-decoder, the decoder's. */
  forward(scope: Scope, batch: Batch): Tensor;
  /**
   * Hidden states → logits, through the `linear` site of the head. A head that predicts tokens, or labels of tokens, takes
   * any rows [..., D] → [..., V] and does not look at the batch. One that judges a whole text takes all of `forward`'s
   * hidden states [B, T', D] → [texts, labels].
   */
  head(scope: Scope, hidden: Tensor, batch: Batch): Tensor;
}

/** A whole pass: inputs, hidden states, logits. */
export function predict<Batch>(model: Model<Batch>, scope: Scope, size: BatchSize): Tensor {
  const batch = model.inputs(scope.trace, size);
  return model.head(scope, model.forward(scope, batch), batch);
}

/** Where a model's parameters are read from; names are those of its state dict, weights are [out, in]. */
export interface Base {
  /** Shape and stored type of a parameter, or undefined if there is none. */
  describe(name: string): { readonly shape: Shape; readonly dtype: DType } | undefined;
  /** Every parameter's name. */
  names(): Iterable<string>;
  /** Values; f16 parameters as 16-bit words. */
  read(name: string): Promise<Source>;
  /**
   * The same piece by piece, a piece being good until the next one is asked for: a parameter need not be in memory whole.
   * Null, or no such function, where there is only the whole.
   */
  pieces?(name: string): AsyncIterable<Source> | null;
  /** Token ids of a text, as the model's own tokenizer begins and ends one; absent where there is no tokenizer. */
  readonly encode?: (text: string) => readonly number[];
}
