/** @file From a traced function to all a program needs, in numbers: what to dispatch, what to allocate. No GPU here. */
import { bytesPerElement } from "../dtype.ts";
import { TraceError, ShapeError } from "../errors.ts";
import type { Target } from "../kernels/target.ts";
import { leaf, type LeafAttrs } from "../ops/leaf.ts";
import { type Aval, show, sizeOf } from "../shape.ts";
import type { Tensor, Trace } from "../tensor.ts";
import { fuse } from "../trace/fuse.ts";
import type { Stretch } from "../trace/memory.ts";
import { collect } from "./host.ts";
import type { StoreLayout } from "./layout.ts";
import { bytesOf } from "./placement.ts";
import { aligned } from "./plan.ts";
import { type MemoryPlan, OFFLOADED, type Outputs } from "./runtime.ts";
import { type Call, schedule, type Schedule } from "./schedule.ts";
import { padded } from "./transfer.ts";

/** A value at an offset of a buffer that holds several, in bytes. */
export interface Slice extends Aval {
  readonly name: string;
  readonly offset: number;
}

/** A table that lives on the device once, however many programs use it. */
export interface Constant {
  readonly key: string;
  readonly bytes: number;
  readonly values: () => Float32Array<ArrayBuffer>;
}

/** A program before it has memory. */
export interface Blueprint {
  readonly schedule: Schedule;
  /** Values the caller gives, side by side in one buffer. */
  readonly inputs: readonly Slice[];
  readonly inputBytes: number;
  /** Values read back, side by side in one staging buffer, in the order of `schedule.outputs`. */
  readonly outputs: readonly Slice[];
  readonly outputBytes: number;
  /** Buffers of the store that are used. */
  readonly parameters: readonly string[];
  readonly constants: readonly Constant[];
  /** The uniform of every call, and where in `sizes` each call's begins. */
  readonly sizes: Uint32Array<ArrayBuffer>;
  readonly sizesOf: readonly number[];
  /** Bytes of everything above, by kind. */
  readonly memory: MemoryPlan;
}

/** Names of buffers that are no parameter's. A space keeps them apart from parameters. */
export const INPUTS = "the inputs";
const constantKey = (name: string, { shape }: Aval): string => `constant ${name} ${show(shape)}`;

/** Staging buffers a program starts with: two runs may wait to be read, as a trainer's do, while the next fills another. */
export const STAGING = 3;
/** Puts values side by side, each where it may be bound. */
function sideBySide(values: readonly (Aval & { readonly name: string })[]): {
  readonly slices: Slice[];
  readonly bytes: number;
} {
  let bytes = 0;
  const slices = values.map(({ name, shape, dtype }) => {
    const offset = bytes;
    bytes = aligned(offset + padded(sizeOf(shape) * bytesPerElement[dtype]));
    return { name, shape, dtype, offset };
  });
  return { slices, bytes };
}

/** The distinct uniforms of all calls in one array; `places[i]` is the first byte of call i's. */
function uniforms(calls: readonly Call[]): {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly places: readonly number[];
} {
  const known = new Map<string, number>();
  const parts: (readonly number[])[] = [];
  let bytes = 0;
  const places = calls.map(({ sizes }) => {
    const key = sizes.join();
    let place = known.get(key);
    if (place === undefined) {
      place = bytes;
      known.set(key, place);
      parts.push(sizes);
      bytes += aligned(sizes.length * 4);
    }
    return place;
  });
  const words = new Uint32Array(bytes / 4);
  [...known.values()].forEach((place, i) => words.set(parts[i] ?? [], place / 4));
  return { words, places };
}

/**
 * Traces, fuses, lowers and plans.
 * @throws {TraceError | ShapeError} for a trace that does not fit the store.
 * @throws {DeviceError} for a value larger than the device binds.
 */
export function draft(store: StoreLayout, build: (trace: Trace) => Outputs, target: Target): Blueprint {
  const { outputs: results, nodes } = collect(build);
  const names = Object.keys(results);
  const tensors = Object.values(results);

  const given: (Aval & { readonly name: string; readonly tensor: Tensor })[] = [];
  const places = new Map<Tensor, Stretch>();
  const constants = new Map<string, Constant>();
  for (const {
    op,
    attrs,
    outputs: [t],
  } of nodes) {
    if (op !== leaf || t === undefined) continue;
    const attributes = attrs as LeafAttrs; // a leaf's attrs
    const { name } = attributes;
    if (attributes.kind === "input") given.push({ name, shape: t.shape, dtype: t.dtype, tensor: t });
    else if (attributes.kind === "param") {
      const { shape, dtype } = store.declaration(name);
      if (sizeOf(shape) !== sizeOf(t.shape) || dtype !== t.dtype)
        throw new ShapeError(
          `${name} is ${dtype} ${show(shape)} in the store and ${t.dtype} ${show(t.shape)} in the trace.`,
        );
      places.set(t, store.place(name));
    } else {
      const key = constantKey(name, t);
      constants.set(key, { key, bytes: padded(bytesOf(t)), values: attributes.values });
      places.set(t, { buffer: key, offset: 0, bytes: bytesOf(t) });
    }
  }
  const inputs = sideBySide(given);
  inputs.slices.forEach(({ offset }, i) => {
    const t = given[i]?.tensor;
    if (t !== undefined) places.set(t, { buffer: INPUTS, offset, bytes: bytesOf(t) });
  });
  const leafPlace = (t: Tensor): Stretch => {
    const place = places.get(t);
    if (place === undefined)
      throw new TraceError(
        `a step reads the result of ${t.node.op.name} at ${t.node.label || "the top"}, which no step makes.`,
      );
    return place;
  };

  const steps = fuse(nodes, tensors, { place: (t) => places.get(t) });
  const planned = schedule(steps, tensors, leafPlace, target);
  const outputs = sideBySide(tensors.map(({ shape, dtype }, i) => ({ name: names[i] ?? "", shape, dtype })));
  const { words, places: sizesOf } = uniforms(planned.calls);
  const parameters = [
    ...new Set(
      nodes.filter((n) => isParameter(n.attrs, n.op === leaf)).map((n) => leafPlace(n.outputs[0] as Tensor).buffer),
    ),
  ];

  const memory: Record<string, number> = { activations: planned.slots.reduce((a, b) => a + b, 0), transfer: 0 };
  const add = (kind: string, bytes: number): number => (memory[kind] = (memory[kind] ?? 0) + bytes);
  for (const buffer of parameters) {
    const { kind, bytes } = store.block(buffer);
    add(kind, bytes);
  }
  add("transfer", inputs.bytes + words.byteLength + STAGING * outputs.bytes);
  for (const { bytes } of constants.values()) add("transfer", bytes);
  for (const bytes of planned.held) add(OFFLOADED, bytes);

  return {
    schedule: planned,
    inputs: inputs.slices,
    inputBytes: inputs.bytes,
    outputs: outputs.slices,
    outputBytes: outputs.bytes,
    parameters,
    constants: [...constants.values()],
    sizes: words,
    sizesOf,
    memory,
  };
}

const isParameter = (attrs: unknown, isLeaf: boolean): boolean => isLeaf && (attrs as LeafAttrs).kind === "param"; // a leaf's attrs
