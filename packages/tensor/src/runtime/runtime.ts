/** @file What a program runs on: the contract that the device and the f64 interpreter both fulfil. */
import { ShapeError } from "../errors.ts";
import type { Aval, Shape } from "../shape.ts";
import type { Tensor, Trace } from "../tensor.ts";

/** Values read back: f32 from a device, f64 from the interpreter. */
export type Values = Float32Array | Float64Array;

/** Values to upload, one number an element; f16 data may be given as its 16-bit words (Uint16Array). */
export type Source = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array | readonly number[];

/** Values at once, or piece by piece in their order: then a piece is good until the next one is asked for. */
export type Given = Source | AsyncIterable<Source>;

/**
 * Bytes by what they are for: "weights", "trainable", "gradients", "optimizer", "activations", "transfer"; and "offloaded", which
 * lie in the host's memory.
 */
export type MemoryPlan = Readonly<Record<string, number>>;

/** The kind of memory that a device reads and writes but does not have: no cap on it holds there. */
export const OFFLOADED = "offloaded";

/** Bytes of a plan that the device has to have. */
export const deviceBytes = (plan: MemoryPlan): number =>
  Object.entries(plan).reduce((sum, [kind, bytes]) => (kind === OFFLOADED ? sum : sum + bytes), 0);

/** What a parameter is, before it has memory. */
export interface Declaration extends Aval {
  /** What its bytes are counted as; "weights" if absent. */
  readonly kind?: string;
  /** Reads the values when the first program that uses it is compiled; zeros if absent. */
  readonly values?: () => Given | Promise<Given>;
}

/** One parameter of a group. */
export interface Member {
  readonly name: string;
  readonly shape: Shape;
  readonly values?: () => Given | Promise<Given>;
}

/**
 * A stretch of memory that holds several f32 parameters one after another, each at a multiple of `BUCKET_BLOCK` elements,
 * the gaps zero. It is a parameter itself, of shape [size], under its own name: optimizers work on buckets.
 */
export interface Bucket {
  readonly name: string;
  readonly size: number;
  readonly members: readonly { readonly name: string; readonly shape: Shape; readonly offset: number }[];
}

/** Named parameters and the memory they live in. Nothing is uploaded before a compiled program reaches it. */
export interface Store {
  /** Makes a parameter known. @throws {TraceError} if the name is taken. */
  declare(name: string, declaration: Declaration): void;
  /**
   * Makes f32 parameters known that live side by side in as few buckets as bindings allow, named `name#0`, `name#1`, …
   * Groups with the same shapes in the same order have the same layout.
   */
  group(name: string, members: readonly Member[], kind: string): readonly Bucket[];
  has(name: string): boolean;
  /** Shape, type and kind of a parameter. @throws {TraceError} if there is none. */
  declaration(name: string): Declaration;
  /** Values as they are after every run submitted so far. */
  read(name: string): Promise<Values>;
  /** Replaces the values. */
  write(name: string, values: Source): Promise<void>;
  /**
   * Takes parameters or whole groups to the host and frees their memory; programs compiled with them must not run again. A
   * program that is compiled with them takes them back; reading and writing leave them where they are.
   */
  park(...names: readonly string[]): Promise<void>;
  /** Frees the memory of parameters or whole groups; programs compiled with them must not run again. */
  delete(...names: readonly string[]): void;
}

/** A compiled trace. It owns its activations; parameters belong to the store. */
export interface Program {
  /** Bytes that this program needs, those of the parameters it reaches included. */
  readonly memory: MemoryPlan;
  /** The compiled steps, one a line. */
  readonly text: string;
  /**
   * Submits one run before it returns, or as much of it as it can if values wait on the host in its middle; the promise is of
   * the outputs read back, by name. Runs are executed in the order they were asked for, so a caller need not await one before
   * the next.
   * @throws {ShapeError} for a missing input or one of the wrong length.
   */
  run(inputs: Readonly<Record<string, Source>>): Promise<Readonly<Record<string, Values>>>;
  /** Frees what the program owns. */
  dispose(): void;
}

/** What a traced function returns: values to read back, by name. Assignments happen whether returned or not. */
export type Outputs = Readonly<Record<string, Tensor>>;

/** Something programs run on. */
export interface Runtime {
  /** Adapter or interpreter, in words. */
  readonly name: string;
  /** Largest parameter bucket or binding, in bytes. */
  readonly maxBinding: number;
  store(): Store;
  /** Bytes that a program would need, without allocating any. */
  plan(store: Store, build: (trace: Trace) => Outputs): MemoryPlan;
  /** Traces, plans, allocates everything, compiles. @throws {DeviceError} if memory does not suffice, with the numbers. */
  compile(store: Store, build: (trace: Trace) => Outputs): Promise<Program>;
  /** Bytes allocated now, by kind, counted where memory is made. */
  allocated(): MemoryPlan;
  /** Frees everything; stores and programs must not be used again. */
  dispose(): void;
}

/**
 * Hands on the values given for a parameter of `size` elements, each piece with the element at which it begins.
 * @throws {ShapeError} if they are more or fewer.
 */
export async function eachPiece(
  name: string,
  given: Given,
  size: number,
  take: (piece: Source, at: number) => void | Promise<void>,
): Promise<void> {
  let at = 0;
  for await (const piece of Symbol.asyncIterator in given ? given : [given]) {
    if (at + piece.length <= size) await take(piece, at);
    at += piece.length;
  }
  if (at !== size) throw new ShapeError(`${name}: got ${at} values, wants ${size}.`);
}

/**
 * Members of a bucket start at multiples of so many elements. So whatever optimizers keep for every block of a bucket is of one
 * member: a learning rate, or the scale of eight-bit codes. And each member may be bound on its own, at a multiple of 256 bytes.
 */
export const BUCKET_BLOCK = 256;

const alignElements = (elements: number): number => Math.ceil(elements / BUCKET_BLOCK) * BUCKET_BLOCK;

/** Lays members out in buckets of at most `maxBytes`, in order. A member larger than that gets a bucket of its own. */
export function layoutGroup(name: string, members: readonly Member[], maxBytes: number): Bucket[] {
  const buckets: { name: string; size: number; members: { name: string; shape: Shape; offset: number }[] }[] = [];
  for (const { name: member, shape } of members) {
    const size = alignElements(shape.reduce((n, d) => n * d, 1));
    let last = buckets.at(-1);
    if (last === undefined || (last.size + size) * 4 > maxBytes) {
      last = { name: `${name}#${buckets.length}`, size: 0, members: [] };
      buckets.push(last);
    }
    last.members.push({ name: member, shape, offset: last.size });
    last.size += size;
  }
  return buckets;
}
