/** @file In-place updates are safe only if nobody reads the old value afterwards. */
import { TraceError } from "../errors.ts";
import { leaf, type LeafAttrs } from "../ops/leaf.ts";
import type { Node, Tensor } from "../tensor.ts";

/**
 * Checks that every updated value is a parameter, or the result of another update of one, and that no node reads it, or a
 * view of it, after the update.
 * @throws {TraceError} naming the parameter and both nodes.
 */
export function checkUpdates(nodes: readonly Node[]): void {
  const updatedBy = new Map<Tensor, Node>();
  const memory = (t: Tensor): Tensor => {
    const source = t.node.op.updates === true ? undefined : t.node.op.aliases?.[t.index];
    const of = source === undefined ? undefined : t.node.inputs[source];
    return of === undefined ? t : memory(of);
  };
  for (const node of nodes) {
    for (const t of node.inputs) {
      const writer = updatedBy.get(memory(t));
      if (writer !== undefined)
        throw new TraceError(
          `${node.op.name} at ${node.label || "the top"} reads ${describe(memory(t))} after ${writer.op.name} changed it; read the result of ${writer.op.name}.`,
        );
    }
    if (node.op.updates !== true) continue;
    for (const i of node.op.aliases ?? []) {
      const written = node.inputs[i];
      if (written === undefined) continue;
      const target = memory(written);
      if (
        target.node.op.updates !== true &&
        !(target.node.op === leaf && (target.node.attrs as LeafAttrs).kind === "param")
      )
        throw new TraceError(`${node.op.name} updates ${describe(target)}, which is no parameter.`);
      updatedBy.set(target, node);
    }
  }
}

function describe(t: Tensor): string {
  return t.node.op === leaf ? (t.node.attrs as LeafAttrs).name : `the result of ${t.node.op.name}`;
}
