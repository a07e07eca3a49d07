/** @file Turns the nodes of a trace into the steps of a program, merging elementwise nodes into the step that reads them. */
import type { DequantizeAttrs } from "../encoding.ts";
import { assignOp } from "../ops/assign.ts";
import { type DecodingMatmulAttrs, decodingMatmul, dequantizeOp } from "../ops/dequantize.ts";
import { type Call, type FusedAttrs, fusedMap, fusedSum, fusedUpdate } from "../ops/fused.ts";
import { type MatmulAttrs, matmulOp } from "../ops/linear.ts";
import type { Op } from "../ops/op.ts";
import { type SumAttrs, sumOp } from "../ops/reduce.ts";
import { type Aval, sizeOf } from "../shape.ts";
import type { Node, Tensor } from "../tensor.ts";
import { changes, isView, leafOf, overlap, type Places, source } from "./memory.ts";

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
  /** Where a leaf lives, so that a bucket and its members are known to overlap. Each has its own memory if absent. */
  readonly place?: Places;
}

/** Storage buffers that every WebGPU device binds to one shader, less the one that is written. */
const MOST_OPERANDS = 7;

/**
 * The steps that compute `outputs` and do all updates among `nodes`, in an order that keeps every read and every write of
 * a parameter where it must be. `nodes` come in the order they run in, as `reachable` gives them.
 *
 * An elementwise node becomes part of the one step that reads it; one that reads no more than one value (an activation, a
 * constant) becomes part of every step that does. Views in between do not matter: they keep the order of the elements. A
 * value that is assigned to the parameter it was computed from is written over it at once. A product decodes its second
 * operand where it loads it.
 */
export function fuse(nodes: readonly Node[], outputs: Iterable<Tensor>, options: FuseOptions = {}): readonly Step[] {
  const kept = new Set(outputs);
  const place = options.place ?? (() => undefined);
  const plan = group(nodes, new Set(Array.from(kept, source)), place);
  const updates = updatesInPlace(plan, place);
  const steps = plan.roots.flatMap((root) => stepOf(root, plan, updates) ?? []);
  return dropUnread(steps, kept);
}

/** Which nodes are computed inside of which steps. */
interface Plan {
  /** The nodes that are a step of their own, views included, in order. */
  readonly roots: readonly Node[];
  /** The elementwise nodes that the loop of a root computes, in order, the root included if it is one. */
  readonly inside: (root: Node) => readonly Node[];
  /** What a root reads from memory. */
  readonly reads: (root: Node) => ReadonlySet<Tensor>;
  /** The roots that read a value which is kept in memory. */
  readonly readers: (value: Tensor) => readonly Node[];
  readonly isKept: (value: Tensor) => boolean;
}

const isElementwise = ({ op, outputs }: Node): boolean => op.inline !== undefined && outputs.length === 1;
const sizeOfValue = (node: Node): number => sizeOf((node.outputs[0] as Tensor).shape); // every node has an output

/** The inputs that a step may compute where it reads them: those of a map or a sum, and the value of an assignment. */
const computed = (root: Node): readonly Tensor[] =>
  isElementwise(root) || root.op === sumOp ? root.inputs : root.op === assignOp ? root.inputs.slice(1) : [];

/** Number of indices that the loop of such a step goes through. */
const loopSize = (root: Node): number =>
  root.op === sumOp ? sizeOf((root.inputs[0] as Tensor).shape) : sizeOfValue(root);

/**
 * Finds the nodes that read at most one value besides single elements, others like them looked through: every reader may
 * compute them again, because it loads no more than if it read them.
 */
function findCheap(nodes: readonly Node[]): ReadonlySet<Node> {
  const needs = new Map<Node, ReadonlySet<Tensor>>();
  for (const node of nodes.filter(isElementwise)) {
    const values = node.inputs.filter((t) => sizeOf(t.shape) > 1).map(source);
    const needed = new Set(values.flatMap((t) => [...(needs.get(t.node) ?? [t])]));
    if (needed.size <= 1) needs.set(node, needed);
  }
  return new Set(needs.keys());
}

function group(nodes: readonly Node[], kept: ReadonlySet<Tensor>, place: Places): Plan {
  const consumers = new Map<Tensor, Node[]>();
  for (const node of nodes)
    if (!isView(node)) for (const t of new Set(node.inputs.map(source))) add(consumers, t, node);
  const writers = nodes.filter((n) => n.op.updates === true);
  const cheap = findCheap(nodes);
  const members = new Map<Node, Node[]>();
  const homes = new Map<Node, readonly Node[]>();
  const inside = (root: Node): readonly Node[] =>
    [...(members.get(root) ?? []), ...(isElementwise(root) ? [root] : [])].sort((a, b) => a.id - b.id);
  const readsWith = (root: Node, loop: readonly Node[]): ReadonlySet<Tensor> =>
    new Set([...root.inputs, ...loop.flatMap((n) => n.inputs)].map(source).filter((t) => !loop.includes(t.node)));
  const readers = (value: Tensor): readonly Node[] => [
    ...new Set((consumers.get(value) ?? []).flatMap((n) => homes.get(n) ?? [n])),
  ];

  /** Whether `node` may be computed where `root` runs: it fits, and nothing that it reads changes on the way there. */
  const joins = (node: Node, root: Node): boolean => {
    const size = sizeOfValue(node);
    if (computed(root).length === 0 || (size !== 1 && size !== loopSize(root))) return false;
    if (readsWith(root, [...inside(root), node]).size > MOST_OPERANDS) return false;
    const between = writers.filter((w) => w.id > node.id && w.id <= root.id);
    return node.inputs.every((t) =>
      between.every((w) => !changes(w, t, place) || (w === root && isSameElement(t, root, loopSize(root)))),
    );
  };

  /** Whether a value is read from memory by one of the nodes that read it, or too dear for each of them to compute. */
  const isStored = (node: Node): boolean => {
    const [value] = node.outputs;
    const reading = value === undefined ? [] : (consumers.get(value) ?? []);
    if (reading.length > 1 && !cheap.has(node)) return true;
    return reading.some((consumer) => !computed(consumer).some((t) => source(t) === value));
  };

  // From the last node to the first, so that it is known where a value is read before it is known where it is made.
  for (const node of nodes.toReversed()) {
    const value = node.outputs[0];
    // Halves are rounded where they are stored, so they are stored.
    if (!isElementwise(node) || value === undefined || value.dtype === "f16" || kept.has(value)) continue;
    // Kernels that do more at once may round otherwise: what is computed again is cut as it was.
    if (node.original !== null && isStored(node.original)) continue;
    const roots = readers(value);
    if (roots.length > 1 && !cheap.has(node)) continue;
    if (!roots.every((root) => joins(node, root))) continue;
    homes.set(node, roots);
    for (const root of roots) add(members, root, node);
  }
  return {
    roots: nodes.filter((n) => !homes.has(n)),
    inside,
    reads: (root) => readsWith(root, inside(root)),
    readers,
    isKept: (value) => kept.has(value),
  };
}

/** Whether a loop that writes `update`'s parameter reads `t` only where it writes: the parameter itself, element by element. */
const isSameElement = (t: Tensor, update: Node, size: number): boolean =>
  leafOf(t) === leafOf(update.outputs[0] as Tensor) && sizeOf(t.shape) === size; // an update has an output

/** The assignments whose value is computed from the parameter's old value, by the node that can write it in place. */
function updatesInPlace({ roots, inside, reads, readers, isKept }: Plan, place: Places): ReadonlyMap<Node, Node> {
  const updates = new Map<Node, Node>();
  for (const assign of roots) {
    const [target, value] = assign.inputs.map(source);
    if (assign.op !== assignOp || target === undefined || value === undefined) continue;
    const maker = value.node;
    if (!isElementwise(maker) || inside(assign).length > 0 || updates.has(maker) || isKept(value)) continue;
    const own = inside(maker)
      .flatMap((n) => n.inputs)
      .filter((t) => overlap(t, target, place));
    const sees = (n: Node): boolean =>
      changes(n, target, place) || [...reads(n)].some((t) => overlap(t, target, place));
    const last = Math.max(...readers(value).map((n) => n.id));
    const isSafe =
      own.length > 0 &&
      own.every((t) => isSameElement(t, assign, sizeOfValue(maker))) &&
      !roots.some((n) => n.id > maker.id && n.id < assign.id && sees(n)) &&
      !roots.some((n) => n.id > assign.id && n.id <= last && changes(n, target, place));
    if (isSafe) updates.set(maker, assign);
  }
  return updates;
}

/** The step of a root; null for an assignment that another step has done. */
function stepOf(root: Node, plan: Plan, updates: ReadonlyMap<Node, Node>): Step | null {
  const current = (t: Tensor): Tensor => updates.get(t.node)?.outputs[0] ?? t;
  if (root.op === assignOp && updates.get(source(root.inputs[1] as Tensor).node) === root) return null;
  const update = root.op === assignOp ? root : updates.get(root);
  const loop = plan.inside(root);
  if (loop.length === 0 || (loop.length === 1 && loop[0] === root && update === undefined))
    return decoding({
      op: root.op,
      attrs: root.attrs,
      inputs: root.inputs.map(current),
      outputs: root.outputs,
      label: root.label,
    });

  const inputs: Tensor[] = update === undefined ? [] : [update.inputs[0] as Tensor]; // the target of an assignment
  const indexOf = (t: Tensor): number => (inputs.includes(t) ? inputs.indexOf(t) : inputs.push(t) - 1);
  const calls = loop.map(({ op, attrs, inputs: own, outputs }): Call => ({
    op,
    attrs,
    args: own.map((t) => {
      const index = loop.indexOf(source(t).node);
      const aval = avalOf(t);
      return index >= 0 ? { from: "call", index, aval } : { from: "input", index: indexOf(current(source(t))), aval };
    }),
    result: avalOf(outputs[0] as Tensor), // an elementwise node has one output
  }));
  const step = { inputs, outputs: (update ?? root).outputs, label: root.label };
  if (update !== undefined) return { ...step, op: fusedUpdate as Op, attrs: { calls } satisfies FusedAttrs };
  if (root.op !== sumOp) return { ...step, op: fusedMap as Op, attrs: { calls } satisfies FusedAttrs };
  return { ...step, op: fusedSum as Op, attrs: { ...(root.attrs as SumAttrs), calls } };
}

/** A product whose second operand is decoded from codes reads the codes instead; any other step as it is. */
function decoding(step: Step): Step {
  const [a, b, ...bias] = step.inputs;
  if (step.op !== matmulOp || a === undefined || b === undefined) return step;
  const { node } = b;
  if (node.op !== dequantizeOp) return step;
  const layout = step.attrs as MatmulAttrs; // a product's attrs
  const decode = node.attrs as DequantizeAttrs; // a decoding's attrs
  const attrs: DecodingMatmulAttrs = { ...layout, decode, parts: node.inputs.length };
  return { ...step, op: decodingMatmul as Op, attrs, inputs: [a, ...node.inputs, ...bias] };
}

const avalOf = ({ shape, dtype }: Tensor): Aval => ({ shape, dtype });

/** Leaves out steps whose outputs nobody reads: what was computed inside of all its readers, and views of it. */
function dropUnread(steps: readonly Step[], outputs: ReadonlySet<Tensor>): readonly Step[] {
  const read = new Set(outputs);
  const needed = steps.toReversed().filter(({ op, inputs, outputs: made }) => {
    if (op.updates !== true && !made.some((t) => read.has(t))) return false;
    for (const t of inputs) read.add(t);
    return true;
  });
  return needed.toReversed();
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
