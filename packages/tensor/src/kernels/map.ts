/** @file The loop behind everything that makes one element of its result at a time: arithmetic, fused chains, copies. */
import { bytesPerElement, type DType } from "../dtype.ts";
import { DeviceError } from "../errors.ts";
import type { InlineContext, Lowering, Op, Spec } from "../ops/op.ts";
import { type Aval, show, sizeOf } from "../shape.ts";
import { type Dispatch, input, type Operand, output } from "./kernel.ts";
import type { Target } from "./target.ts";
import { address, broadcast, flat, grain, isFlat, type Walk } from "./walk.ts";
import { type Binding, bytesOf, checkBindings, dispatch, eachItem, itemGroups, type Size, wgsl } from "./wgsl.ts";

/** A tensor that a loop reads or writes, and where it finds the element of an index. */
export interface Access {
  readonly operand: Operand;
  readonly aval: Aval;
  readonly walk: Walk;
}

/** A computation done for every index 0 … size − 1. */
export interface Loop {
  readonly label: string;
  readonly size: number;
  readonly reads: readonly Access[];
  readonly write: Access;
  /** Copies words as they are, instead of computing in f32. */
  readonly raw?: boolean;
  /** Statements and the value, given the names that the reads are bound to. */
  readonly body: (args: readonly string[], at: InlineContext) => Body;
}

/** What is done at one index. */
export interface Body {
  /** Statements that need no index: they stand before the loop. */
  readonly before?: readonly string[];
  readonly lines: readonly string[];
  readonly value: string;
}

/** Dispatches of a loop: vectors of four as far as they go, single elements for the rest, in chunks that can be bound. */
export function lowerLoop(loop: Loop, target: Target): readonly Dispatch[] {
  const { size, reads, write } = loop;
  const all = [...reads, write];
  const [whole, split] = [all.filter((a) => !isFlat(a.walk, size)), all.filter((a) => isFlat(a.walk, size))];
  checkBindings(
    loop.label,
    whole.map((a) => a.aval),
    target,
  );
  const largest = Math.max(0, ...split.map((a) => bytesOf(a.aval)));
  // A chunk starts at a multiple of 256 bytes in every operand, halves included.
  const chunk = largest <= target.maxBinding ? size : Math.floor(target.maxBinding / 4 / 128) * 128;
  const vectors = fitsVectors(all, size);
  const dispatches: Dispatch[] = [];
  for (let base = 0; base < size; base += chunk) {
    const end = Math.min(base + chunk, size);
    const middle = vectors ? end - (end % 4) : base;
    const part = { base, whole: chunk === size };
    if (middle > base) dispatches.push(lowerPart(loop, { ...part, first: base, end: middle, unit: 4 }, target));
    if (end > middle) dispatches.push(lowerPart(loop, { ...part, first: middle, end, unit: 1 }, target));
  }
  return dispatches;
}

/** Whether vectors of four will do: no operand is read one element at a time, or in two ways at once. */
export function fitsVectors(all: readonly Access[], size: number): boolean {
  const grains = new Map<string, string>();
  return all.every(({ operand: { of, index }, walk }) => {
    const g = grain(walk, size);
    const known = grains.get(`${of}${index}`) ?? g;
    grains.set(`${of}${index}`, known);
    return g !== "apart" && known === g;
  });
}

/** What a loop's text needs to read its operands. */
export interface Loads {
  readonly bindings: readonly Binding[];
  /** Lines that stand before the loop: what is the same at every index. */
  readonly before: readonly string[];
  /** Lines that load the operands at index `i`. */
  readonly inside: readonly string[];
  /** Names of the loaded values, one for each read. */
  readonly args: readonly string[];
  /** Where an access finds its element, or its vector, at index `i`. */
  readonly place: (access: Access, name: string) => string;
}

export interface LoadOptions {
  readonly size: number;
  readonly unit: 1 | 4;
  readonly raw?: boolean;
  /** Fields of the uniform; those that walks need are added. */
  readonly sizes: Record<string, Size>;
  /** The loop's index as flat operands count it, where only a chunk of them is bound. */
  readonly local?: string;
  readonly range?: (access: Access) => Operand;
}

/** Declares the operands of a loop over `i`, which counts single elements or vectors of four, and loads them. */
export function loadAll(
  reads: readonly Access[],
  { size, unit, raw = false, sizes, local = "i", range = (a) => a.operand }: LoadOptions,
): Loads {
  const isVector = (a: Access): boolean => unit === 4 && grain(a.walk, size) === "vector";
  const [before, inside]: [string[], string[]] = [[], []];
  const bound = new Map<string, Binding>();
  const place = (a: Access, name: string): string => {
    const operand = range(a);
    // An operand is bound once, but for one that is read by chunks and also whole.
    const key = `${operand.of}${operand.index} ${operand.offset}`;
    const binding = bound.get(key) ?? { name, type: element(a.aval.dtype, isVector(a), raw), operand };
    bound.set(key, binding);
    const index = isFlat(a.walk, size) ? local : "i";
    return `${binding.name}[${address(a.walk, size, { index, name, unit, vector: isVector(a), sizes })}]`;
  };
  const args = reads.map((read, k) => {
    const value = load(place(read, `x${k}`), read.aval.dtype, isVector(read), raw);
    const wide =
      unit === 4 && !isVector(read) ? `${raw || read.aval.dtype === "u32" ? "vec4u" : "vec4f"}(${value})` : value;
    (read.walk.axes.length === 0 ? before : inside).push(`let a${k} = ${wide};`);
    return `a${k}`;
  });
  return {
    get bindings() {
      return [...bound.values()];
    },
    before,
    inside,
    args,
    place,
  };
}

/** What an inlined expression needs to know where `i` counts single elements or vectors. */
export const inlineAt = (unit: 1 | 4): InlineContext => ({
  type: unit === 4 ? "vec4f" : "f32",
  index: unit === 4 ? "(4u * i + vec4u(0u, 1u, 2u, 3u))" : "i",
});

interface Part {
  /** Index at which the bound chunks of flat operands start. */
  readonly base: number;
  /** Whether flat operands are bound whole. */
  readonly whole: boolean;
  readonly first: number;
  readonly end: number;
  readonly unit: 1 | 4;
}

function lowerPart({ label, size, reads, write, raw = false, body }: Loop, part: Part, target: Target): Dispatch {
  const { unit } = part;
  const sizes: Record<string, Size> = { first: part.first / unit, end: part.end / unit, base: part.base / unit };
  const local = "(i - sizes.base)";
  const loads = loadAll(reads, { size, unit, raw, sizes, local, range: (a) => chunkOf(a, part, size) });
  const { before = [], lines, value } = body(loads.args, inlineAt(unit));
  const { dtype } = write.aval;
  const y = loads.place(write, "y");
  const share = (part.end - part.first) / size;
  const perItem = dtype === "f16" && unit === 1 ? 2 : unit;
  const text = { before: [...loads.before, ...before].join("\n"), inside: [...loads.inside, ...lines].join("\n") };
  return dispatch({
    label: `${label}${unit === 4 ? " vec4" : ""}`,
    bindings: loads.bindings,
    sizes,
    workgroups: itemGroups((part.end - part.first) / perItem, target),
    cost: {
      flops: share * size * Math.max(1, lines.length),
      bytes: share * [...reads, write].reduce((n, a) => n + bytesOf(a.aval), 0),
    },
    code:
      perItem === 2
        ? halvesText(text, value, y.slice(0, y.indexOf("[")))
        : itemText(text, `${y} = ${stored(value, dtype, unit, raw)};`),
  });
}

/** Statements of a loop: those before it, and those at an index, which leave the value to be stored. */
interface LoopText {
  readonly before: string;
  readonly inside: string;
}

const itemText = ({ before, inside }: LoopText, store: string): string =>
  eachItem(`${inside}\n${store}`, { first: "sizes.first", end: "sizes.end", before });

/** Elements in half precision one by one: two share a word, so one thread makes both. */
const halvesText = ({ before, inside }: LoopText, value: string, y: string): string =>
  eachItem(
    wgsl`
      var pair = vec2f();
      for (var i = 2u * word; i < min(2u * word + 2u, sizes.end); i++) {
        ${inside}
        pair[i % 2u] = ${value};
      }
      ${y}[word - sizes.base / 2u] = pack2x16float(pair);`,
    { item: "word", first: "sizes.first / 2u", end: "(sizes.end + 1u) / 2u", before },
  );

/** A value as an array's element. */
function stored(value: string, dtype: DType, unit: 1 | 4, raw: boolean): string {
  if (dtype === "f32" || raw) return value;
  if (dtype === "f16") return `vec2u(pack2x16float((${value}).xy), pack2x16float((${value}).zw))`;
  return `${unit === 4 ? `vec4<${dtype}>` : dtype}(${value})`;
}

/** Type of an array's element; halves come in pairs. */
function element(dtype: DType, vector: boolean, raw: boolean): string {
  if (dtype === "f16") return vector ? "vec2u" : "u32";
  const scalar = raw ? "u32" : dtype;
  return vector ? `vec4<${scalar}>` : scalar;
}

/** The element, or the four, at a place: as f32, but for the words of copies and seeds. */
function load(place: string, dtype: DType, vector: boolean, raw: boolean): string {
  if (raw || dtype === "f32" || dtype === "u32") return place;
  if (dtype !== "f16") return `${vector ? "vec4f" : "f32"}(${place})`;
  if (vector) return `vec4f(unpack2x16float(${place}.x), unpack2x16float(${place}.y))`;
  const [name, index] = [place.slice(0, place.indexOf("[")), place.slice(place.indexOf("[") + 1, -1)];
  return `unpack2x16float(${name}[(${index}) / 2u])[(${index}) % 2u]`;
}

/** The stretch of a flat operand that a chunk binds. */
function chunkOf({ operand, aval, walk }: Access, { base, whole, end }: Part, size: number): Operand {
  if (whole || !isFlat(walk, size)) return operand;
  const bytes = bytesPerElement[aval.dtype];
  return { ...operand, offset: base * bytes, size: Math.ceil(((end - base) * bytes) / 4) * 4 };
}

/** An elementwise op over operands that broadcast. */
export function mapLowering<A>(op: Op<A>, { inputs, outputs, attrs }: Spec<A>, target: Target): Lowering {
  const [out] = outputs;
  const { inline } = op;
  if (out === undefined || inline === undefined) throw new TypeError(`${op.name} is not elementwise.`);
  const size = sizeOf(out.shape);
  const loop: Loop = {
    label: op.name,
    size,
    reads: inputs.map((aval, k) => ({ operand: input(k), aval, walk: broadcast(aval.shape, out.shape) })),
    write: { operand: output(0), aval: out, walk: flat(size) },
    body: (args, at) => ({ lines: [], value: inline(args, attrs, at) }),
  };
  return { dispatches: lowerLoop(loop, target) };
}

/**
 * Words copied as they are, the two walks of one length. Halves are copied in pairs.
 * @throws {DeviceError} if halves do not stay in pairs.
 */
export function lowerCopy(label: string, from: Access, to: Access, size: number, target: Target): readonly Dispatch[] {
  const pairs = from.aval.dtype === "f16";
  const loop: Loop = {
    label,
    size: pairs ? Math.ceil(size / 2) : size,
    reads: [pairs ? paired(from, size) : from],
    write: pairs ? paired(to, size) : to,
    raw: true,
    body: ([x]) => ({ lines: [], value: x ?? "" }),
  };
  return lowerLoop(loop, target);
}

/** An access to halves as one to words. */
function paired({ operand, aval, walk: { axes, offset } }: Access, size: number): Access {
  const words: Aval = { dtype: "u32", shape: [bytesOf(aval) / 4] };
  if (isFlat({ axes, offset }, size)) return { operand, aval: words, walk: flat(Math.ceil(size / 2)) };
  const [inner, ...outer] = axes;
  const even = inner?.stride === 1 && [inner.length, offset, ...outer.map((a) => a.stride)].every((n) => n % 2 === 0);
  if (!even)
    throw new DeviceError(
      `a copy out of or into f16 ${show(aval.shape)} splits a pair of halves; cast it to f32 first.`,
    );
  return {
    operand,
    aval: words,
    walk: {
      axes: [{ length: inner.length / 2, stride: 1 }, ...outer.map((a) => ({ ...a, stride: a.stride / 2 }))],
      offset: offset / 2,
    },
  };
}

/** Gives a parameter the bits of a value. */
export function assignLowering({ inputs }: Spec, target: Target): Lowering {
  const [to, from] = inputs as readonly [Aval, Aval]; // assign has two
  const size = sizeOf(to.shape);
  const access = (operand: Operand, aval: Aval): Access => ({ operand, aval, walk: flat(size) });
  return { dispatches: lowerCopy("assign", access(input(1), from), access(output(0), to), size, target) };
}
