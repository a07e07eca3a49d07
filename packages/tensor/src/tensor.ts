/** @file Tensors are nodes of a trace; they hold a shape and a history, never memory. */

import type { DType } from "./dtype.ts";
import { TraceError } from "./errors.ts";
import { leaf, type LeafAttrs } from "./ops/leaf.ts";
import type { Op } from "./ops/op.ts";
import { type Aval, type Shape, sameShape, show } from "./shape.ts";

/** One application of an op. Nodes are numbered in the order of their creation, which is the order they run in. */
export interface Node {
  readonly id: number;
  readonly trace: Trace;
  readonly op: Op;
  readonly inputs: readonly Tensor[];
  readonly attrs: unknown;
  readonly outputs: readonly Tensor[];
  /** Where in the model it was made ("model.layers.0.mlp"), for messages, profiles and printing. */
  readonly label: string;
  /** The checkpointed region it belongs to; its values are recomputed by the backward pass instead of kept. */
  readonly region: Region | null;
  /** The node that it computes again, for the backward pass. */
  readonly original: Node | null;
}

/** A value in a trace: what shape and type it has and which node makes it. It never owns memory. */
export interface Tensor extends Aval {
  readonly node: Node;
  /** Which of the node's outputs it is. */
  readonly index: number;
}

/** A stretch of the forward pass whose values are recomputed when the backward pass first needs them. */
export interface Region {
  readonly id: number;
  /** What it was given, and the same on the host, if that is where it waits for being recomputed. */
  readonly offloaded: { readonly value: Tensor; readonly kept: Tensor } | null;
}

/** What linear layers read their input in. All else is f32, gradients too. */
export type Precision = "f32" | "f16";

/**
 * The record of a function: every op it applied, in order. A trace is built once and then interpreted or compiled.
 */
export class Trace {
  readonly nodes: Node[] = [];
  /** Label given to new nodes. */
  label = "";
  /** Region given to new nodes. */
  region: Region | null = null;
  /** Of new linear layers. */
  precision: Precision = "f32";
  readonly #leaves = new Map<string, Tensor>();

  /** A value that the caller passes at every run. */
  input(name: string, shape: Shape, dtype: DType = "f32"): Tensor {
    return this.#leaf({ kind: "input", name }, { shape, dtype });
  }

  /** A named value that lives in the store and outlasts the run. */
  param(name: string, shape: Shape, dtype: DType = "f32"): Tensor {
    return this.#leaf({ kind: "param", name }, { shape, dtype });
  }

  /** A table computed on the host once, such as the angles of rotary positions. Same name, same values. */
  constant(name: string, shape: Shape, values: () => Float32Array<ArrayBuffer>): Tensor {
    return this.#leaf({ kind: "constant", name, values }, { shape, dtype: "f32" });
  }

  /** Leaves by kind and name, in the order of their first use. */
  get leaves(): IterableIterator<Tensor> {
    return this.#leaves.values();
  }

  /** Runs `body` with new nodes labelled `label`. */
  within<R>(label: string, body: () => R): R {
    const outer = this.label;
    this.label = label;
    try {
      return body();
    } finally {
      this.label = outer;
    }
  }

  #leaf(attrs: LeafAttrs, aval: Aval): Tensor {
    const key = `${attrs.kind} ${attrs.name}`;
    const known = this.#leaves.get(key);
    if (known !== undefined) {
      if (!sameShape(known.shape, aval.shape) || known.dtype !== aval.dtype)
        throw new TraceError(
          `${key} is declared as ${known.dtype} ${show(known.shape)} and as ${aval.dtype} ${show(aval.shape)}.`,
        );
      return known;
    }
    // A leaf belongs to no region: it is there before the forward pass and after it.
    const outer = this.region;
    this.region = null;
    const [tensor] = record(this, leaf, [], { ...attrs, aval });
    this.region = outer;
    if (tensor === undefined) throw new TraceError(`${key}: a leaf has one output.`);
    this.#leaves.set(key, tensor);
    return tensor;
  }
}

/** Appends a node to the trace and returns its outputs. */
export function record<A>(
  trace: Trace,
  op: Op<A>,
  inputs: readonly Tensor[],
  attrs: A,
  original: Node | null = null,
): readonly Tensor[] {
  for (const t of inputs)
    if (t.node.trace !== trace) throw new TraceError(`${op.name}: its inputs come from different traces.`);
  const outputs: Tensor[] = [];
  // A's methods are only ever called with the attrs stored beside them, so forgetting A here is sound.
  const node: Node = {
    id: trace.nodes.length,
    trace,
    op: op as Op,
    inputs,
    attrs,
    outputs,
    label: trace.label,
    region: trace.region,
    original,
  };
  op.infer(inputs, attrs).forEach(({ shape, dtype }, index) => outputs.push({ node, index, shape, dtype }));
  trace.nodes.push(node);
  return outputs;
}

/** Applies an op that has one output, to tensors of one trace. */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return applyAll(op, inputs, attrs)[0] as Tensor; // an op has at least one output
}

/** Applies an op to tensors of one trace and returns all its outputs. */
export function applyAll<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  const first = inputs[0];
  if (first === undefined) throw new TraceError(`${op.name}: needs an input to know its trace; use record().`);
  return record(first.node.trace, op, inputs, attrs);
}
