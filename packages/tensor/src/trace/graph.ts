/** @file Walking and printing traces. */
import { show } from "../shape.ts";
import type { Node, Tensor } from "../tensor.ts";

/** The nodes that `roots` depend on, in the order they run in. */
export function reachable(roots: Iterable<Tensor>): Node[] {
  const seen = new Set<Node>();
  const stack = Array.from(roots, (t) => t.node);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const t of node.inputs) stack.push(t.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/** One line a node: `%12 = matmul %3 %7 [1024, 768]  model.layers.0.mlp.up_proj`. */
export function print(nodes: readonly Node[]): string {
  const name = (t: Tensor): string => (t.node.outputs.length === 1 ? `%${t.node.id}` : `%${t.node.id}.${t.index}`);
  return nodes
    .map((node) => {
      const words = [
        node.outputs.map(name).join(", "),
        "=",
        node.op.name,
        ...node.inputs.map(name),
        ...node.outputs.map((t) => (t.dtype === "f32" ? show(t.shape) : `${t.dtype} ${show(t.shape)}`)),
      ];
      return words.join(" ") + (node.label === "" ? "" : `  ${node.label}`);
    })
    .join("\n");
}
