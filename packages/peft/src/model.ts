/** @file What a model is to methods and trainers: a pure function over a scope and a batch. */
import type { DType, Shape, Source, Tensor, Trace } from "@graftml/tensor";
import type { Scope } from "./scope.ts";

/** Token ids with what a decoder or encoder needs to know of them. */
export interface TokenBatch {
  /** i32 [B, T] */
  readonly ids: Tensor;
  /** i32 [B or 1, T]; null: 0 … T − 1. */
  readonly positions: Tensor | null;
  /** [B, T], 0 at padding; null where padding cannot be seen (causal models padded on the right). */
  readonly mask: Tensor | null;
}

/** Facts of a model that methods and files need. */
export interface ModelInfo {
  /** `model_type` of its config.json. */
  readonly type: string;
  /** The class that transformers loads it with, "LlamaForCausalLM". */
  readonly architecture: string;
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
  inputs(trace: Trace, size: { readonly batch: number; readonly length: number }): Batch;
  /** Hidden states [B, T', D] after the last norm; the real tokens are the last T rows. */
  forward(scope: Scope, batch: Batch): Tensor;
  /** Hidden states [..., D] → logits [..., V], through the `linear` site of the head. */
  head(scope: Scope, hidden: Tensor): Tensor;
}

/** Where a model's parameters are read from; names are those of its state dict, weights are [out, in]. */
export interface Base {
  /** Shape and stored type of a parameter, or undefined if there is none. */
  describe(name: string): { readonly shape: Shape; readonly dtype: DType } | undefined;
  /** Every parameter's name. */
  names(): Iterable<string>;
  /** Values; f16 parameters as 16-bit words. */
  read(name: string): Promise<Source>;
}
