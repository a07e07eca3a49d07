/** @file The f64 interpreter as a runtime: the oracle for every kernel, and the way to run without a GPU. */
import { ShapeError, TraceError } from "../errors.ts";
import { leaf, type LeafAttrs } from "../ops/leaf.ts";
import { keepOp, restoreOp } from "../ops/offload.ts";
import type { Value } from "../ops/op.ts";
import { show, sizeOf } from "../shape.ts";
import { type Node, Trace, type Tensor } from "../tensor.ts";
import { print, reachable } from "../trace/graph.ts";
import { checkUpdates } from "../trace/updates.ts";
import {
  eachPiece,
  type Bucket,
  type Declaration,
  layoutGroup,
  type Member,
  type MemoryPlan,
  type Outputs,
  type Program,
  type Runtime,
  type Source,
  type Store,
} from "./runtime.ts";

/** A runtime that evaluates every op by its `reference` in float64. Slow, exact, needs nothing. */
export function hostRuntime({ maxBinding = 2 ** 27 }: { readonly maxBinding?: number } = {}): Runtime {
  const stores: HostStore[] = [];
  return {
    name: "f64 interpreter",
    maxBinding,
    store: () => {
      const store = new HostStore(maxBinding);
      stores.push(store);
      return store;
    },
    plan: (store, build) => memoryOf(collect(build), store),
    compile: async (store, build) => {
      if (!(store instanceof HostStore)) throw new TraceError("compile: the store belongs to another runtime.");
      return hostProgram(store, collect(build));
    },
    allocated: () => {
      const bytes: Record<string, number> = {};
      for (const store of stores) for (const [kind, n] of store.bytes()) bytes[kind] = (bytes[kind] ?? 0) + n;
      return bytes;
    },
    dispose: () => stores.forEach((s) => s.clear()),
  };
}

interface Collected {
  readonly outputs: Outputs;
  readonly nodes: readonly Node[];
}

/** Traces a function and keeps what its outputs and its updates need. */
export function collect(build: (trace: Trace) => Outputs): Collected {
  const trace = new Trace();
  const outputs = build(trace);
  const updates = trace.nodes.filter((n) => n.op.updates === true).flatMap((n) => n.outputs);
  const nodes = reachable([...Object.values(outputs), ...updates]);
  checkUpdates(nodes);
  return { outputs, nodes };
}

function memoryOf({ nodes }: Collected, store: Store): MemoryPlan {
  const bytes: Record<string, number> = { activations: 0 };
  for (const node of nodes)
    if (node.op === leaf) {
      const { kind, name } = node.attrs as LeafAttrs; // a leaf's attrs
      const n = 8 * sizeOf(node.outputs[0]!.shape);
      const key = kind === "param" ? (store.declaration(name).kind ?? "weights") : "transfer";
      bytes[key] = (bytes[key] ?? 0) + n;
    } else if (node.op.aliases === undefined && node.op !== keepOp && node.op !== restoreOp)
      for (const t of node.outputs) bytes["activations"]! += 8 * sizeOf(t.shape);
  return bytes;
}

class HostStore implements Store {
  readonly #declared = new Map<string, Declaration>();
  readonly #values = new Map<string, Value>();
  readonly #filled = new Map<string, Promise<void>>();
  /** Names inside a bucket. */
  readonly #members = new Map<string, readonly string[]>();
  /** Names of a group's buckets and members. */
  readonly #groups = new Map<string, readonly string[]>();
  /** All memory is the host's: what is parked is counted no longer, and that is all. */
  readonly #parked = new Set<string>();
  readonly #maxBinding: number;

  constructor(maxBinding: number) {
    this.#maxBinding = maxBinding;
  }

  declare(name: string, declaration: Declaration): void {
    if (this.#declared.has(name)) throw new TraceError(`${name} is declared twice.`);
    this.#declared.set(name, declaration);
  }

  group(name: string, members: readonly Member[], kind: string): readonly Bucket[] {
    const sources = new Map(members.map((m) => [m.name, m]));
    const buckets = layoutGroup(name, members, this.#maxBinding);
    for (const bucket of buckets) {
      this.declare(bucket.name, { shape: [bucket.size], dtype: "f32", kind });
      const all = new Float64Array(bucket.size);
      this.#values.set(bucket.name, all);
      for (const { name: member, shape, offset } of bucket.members) {
        const values = sources.get(member)?.values;
        this.declare(member, { shape, dtype: "f32", kind, ...(values && { values }) });
        this.#values.set(member, all.subarray(offset, offset + sizeOf(shape)));
      }
      this.#members.set(
        bucket.name,
        bucket.members.map((m) => m.name),
      );
    }
    this.#groups.set(
      name,
      buckets.flatMap((b) => [b.name, ...b.members.map((m) => m.name)]),
    );
    return buckets;
  }

  has(name: string): boolean {
    return this.#declared.has(name);
  }

  declaration(name: string): Declaration {
    const declaration = this.#declared.get(name);
    if (declaration === undefined) throw new TraceError(`the store has no parameter ${name}.`);
    return declaration;
  }

  /** The parameter's own array, with its values; a group's member shares the memory of its bucket. */
  async value(name: string): Promise<Value> {
    this.#parked.delete(name);
    return this.#filledValue(name);
  }

  async #filledValue(name: string): Promise<Value> {
    await Promise.all([name, ...(this.#members.get(name) ?? [])].map((n) => this.#fill(n)));
    return this.#values.get(name)!;
  }

  /** Reads a parameter's first values, once. */
  #fill(name: string): Promise<void> {
    const begun = this.#filled.get(name);
    if (begun !== undefined) return begun;
    const { shape, values } = this.declaration(name);
    const own = this.#values.get(name) ?? new Float64Array(sizeOf(shape));
    this.#values.set(name, own);
    const filled = (async () => {
      if (values === undefined) return;
      await eachPiece(name, await values(), own.length, (piece, at) => own.set(numbers(piece), at));
    })();
    this.#filled.set(name, filled);
    return filled;
  }

  async read(name: string): Promise<Float64Array> {
    return (await this.#filledValue(name)).slice();
  }

  async write(name: string, values: Source): Promise<void> {
    (await this.#filledValue(name)).set(checked(name, values, sizeOf(this.declaration(name).shape)));
  }

  async park(...names: readonly string[]): Promise<void> {
    for (const name of names.flatMap((n) => this.#groups.get(n) ?? [n])) this.#parked.add(name);
  }

  delete(...names: readonly string[]): void {
    for (const name of names.flatMap((n) => this.#groups.get(n) ?? [n])) {
      for (const map of [this.#declared, this.#values, this.#filled, this.#members, this.#parked]) map.delete(name);
    }
    for (const name of names) this.#groups.delete(name);
  }

  *bytes(): Iterable<readonly [string, number]> {
    for (const [name, value] of this.#values) {
      const owner = value.byteLength === value.buffer.byteLength; // a member's bytes are its bucket's
      if (owner && !this.#parked.has(name)) yield [this.#declared.get(name)?.kind ?? "weights", value.byteLength];
    }
  }

  clear(): void {
    for (const map of [this.#declared, this.#values, this.#filled, this.#members, this.#groups, this.#parked])
      map.clear();
  }
}

/** Values with f16 words decoded and the length checked. */
function checked(name: string, values: Source, size: number): ArrayLike<number> {
  if (values.length !== size) throw new ShapeError(`${name}: got ${values.length} values, wants ${size}.`);
  return numbers(values);
}

const numbers = (values: Source): ArrayLike<number> =>
  values instanceof Uint16Array ? Float64Array.from(values, f16ToNumber) : values;

/** The number that a half-precision word stands for. */
export function f16ToNumber(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

async function hostProgram(store: HostStore, collected: Collected): Promise<Program> {
  const { nodes, outputs } = collected;
  const fixed = new Map<Tensor, Value>();
  for (const {
    op,
    attrs,
    outputs: [t],
  } of nodes)
    if (op === leaf) {
      const l = attrs as LeafAttrs; // a leaf's attrs
      if (l.kind === "param") {
        const { shape } = store.declaration(l.name);
        if (sizeOf(shape) !== sizeOf(t!.shape))
          throw new ShapeError(`${l.name} is ${show(shape)} in the store and ${show(t!.shape)} in the trace.`);
        fixed.set(t!, await store.value(l.name));
      } else if (l.kind === "constant") fixed.set(t!, Float64Array.from(l.values()));
    }
  return {
    memory: memoryOf(collected, store),
    text: print(nodes),
    run: async (inputs) => {
      const values = new Map(fixed);
      for (const node of nodes) {
        if (node.op === leaf) {
          const l = node.attrs as LeafAttrs; // a leaf's attrs
          const t = node.outputs[0]!;
          if (l.kind === "input") {
            const given = inputs[l.name];
            if (given === undefined) throw new ShapeError(`run: input ${l.name} is missing.`);
            values.set(t, Float64Array.from(checked(l.name, given, sizeOf(t.shape))));
          }
          continue;
        }
        const args = node.inputs.map((t) => values.get(t)!);
        const spec = { inputs: node.inputs, outputs: node.outputs, attrs: node.attrs };
        node.op.reference(args, spec).forEach((v, i) => values.set(node.outputs[i]!, v));
      }
      return Object.fromEntries(Object.entries(outputs).map(([name, t]) => [name, values.get(t)!.slice()]));
    },
    dispose: () => undefined,
  };
}
