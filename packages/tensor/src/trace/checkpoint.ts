/** @file Activation checkpointing as a rule on the graph: values of a region are recomputed instead of kept. */
import { keep, restore } from "../ops/offload.ts";
import { record, type Node, type Region, type Tensor } from "../tensor.ts";
import { leafOf } from "./memory.ts";

let regions = 0;

/**
 * Applies `f` to `x` without keeping what it computes: the backward pass recomputes it when it first needs a value from
 * inside. Values and gradients are the same bits. A region inside a region is part of the outer one.
 *
 * With `offload`, x too leaves the device once it has been used, and comes back when it is needed for that. Other values that
 * `f` reads from outside stay where they are.
 * @see Chen et al. 2016, "Training deep nets with sublinear memory cost".
 */
export function checkpoint<R>(x: Tensor, f: (x: Tensor) => R, { offload = false } = {}): R {
  const { trace } = x.node;
  if (trace.region !== null) return f(x);
  const leaves = offload && leafOf(x) === null; // what is an input or a parameter stays in any case
  trace.region = { id: regions++, offloaded: leaves ? { value: x, kept: keep(x) } : null };
  try {
    return f(x);
  } finally {
    trace.region = null;
  }
}

/**
 * Gives the backward pass values it may use: those of a region as clones, made on first use, and all else as it is. Because
 * nodes run in the order of their creation, clones run late by construction. Of what a region was given, which waits for
 * its clones in any case, its gradients make no other clone: so the last layer of the block before is not computed twice.
 *
 * `within` is the region of the node that asks.
 */
export function recomputer(): (t: Tensor, within: Region | null) => Tensor {
  const clones = new Map<Node, readonly Tensor[]>();
  const back = new Map<Tensor, Tensor>();
  const restored = (kept: Tensor): Tensor => {
    const known = back.get(kept);
    if (known !== undefined) return known;
    const value = kept.node.trace.within(kept.node.label, () => restore(kept));
    back.set(kept, value);
    return value;
  };
  const recompute = (t: Tensor, within: Region | null): Tensor => {
    const { node } = t;
    if (t === within?.offloaded?.value) return restored(within.offloaded.kept);
    if (node.region === null || (within !== null && node.region !== within)) return t;
    let outputs = clones.get(node);
    if (outputs === undefined) {
      const region = node.region;
      const inputs = node.inputs.map((input) => recompute(input, region));
      outputs = node.trace.within(node.label, () => record(node.trace, node.op, inputs, node.attrs, node));
      clones.set(node, outputs);
    }
    return outputs[t.index] as Tensor; // a clone has the outputs of its original
  };
  return recompute;
}
