/** @file Reverse-mode differentiation over the op table; only paths from the parameters asked for to the loss are walked. */
import { TraceError } from "../errors.ts";
import { add, fill } from "../ops/elementwise.ts";
import type { VjpContext } from "../ops/op.ts";
import { sizeOf, show } from "../shape.ts";
import type { Node, Tensor } from "../tensor.ts";
import { recomputer } from "./checkpoint.ts";
import { reachable } from "./graph.ts";

/**
 * ∂loss/∂w for each w of `wrt`; null where the loss does not depend on it.
 *
 * What no path needs is never built: a frozen weight has no gradient, and nothing is computed below the lowest w.
 * @throws {TraceError} if the loss is not a scalar or an op on a path has no gradient.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[]): readonly (Tensor | null)[] {
  if (sizeOf(loss.shape) !== 1) throw new TraceError(`grad: the loss must be a scalar, not ${show(loss.shape)}.`);
  const { trace } = loss.node;
  const nodes = reachable([loss]);
  const wanted = dependents(nodes, wrt);
  const cotangents = new Map<Tensor, Tensor>([[loss, fill(trace, loss.shape, 1)]]);
  const recompute = recomputer();

  for (const node of nodes.toReversed()) {
    if (!node.inputs.some((t) => wanted.has(t)) || !node.outputs.some((t) => cotangents.has(t))) continue;
    const { vjp } = node.op;
    if (vjp === undefined) throw new TraceError(`${node.op.name} at ${node.label || "the top"} has no gradient.`);
    const context: VjpContext<unknown> = {
      attrs: node.attrs,
      node,
      needs: (i) => wanted.has(node.inputs[i] as Tensor),
      input: (i) => recompute(node.inputs[i] as Tensor, node.region),
      output: (i) => recompute(node.outputs[i] as Tensor, node.region),
      cotangent: (i) => {
        const y = node.outputs[i] as Tensor; // rules ask for the outputs their op has
        return cotangents.get(y) ?? fill(trace, y.shape, 0);
      },
    };
    trace.within(node.label, () => {
      vjp.call(node.op, context).forEach((g, i) => {
        const x = node.inputs[i];
        if (g === null || x === undefined || !wanted.has(x)) return;
        const known = cotangents.get(x);
        cotangents.set(x, known === undefined ? g : add(known, g));
      });
    });
  }
  return wrt.map((w) => cotangents.get(w) ?? null);
}

/** The tensors among `nodes` that depend on one of `wrt`, those included. */
function dependents(nodes: readonly Node[], wrt: readonly Tensor[]): ReadonlySet<Tensor> {
  const set = new Set(wrt);
  for (const node of nodes) if (node.inputs.some((t) => set.has(t))) for (const t of node.outputs) set.add(t);
  return set;
}
