/**
 * @file Reading Python pickles without executing anything: a global is a name, and a call is only recorded.
 * @see CPython `Lib/pickletools.py` for the opcodes.
 */
import { StateError } from "./errors.ts";

/** A value of a pickle. */
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Pickled[]
  | ReadonlyMap<Pickled, Pickled>
  | Global
  | Call
  | Persistent;

/** A class or function by its name: nothing is imported. */
export interface Global {
  readonly kind: "global";
  readonly name: string;
}

/** What would be called with what. A dictionary that it makes is filled in `items`. */
export interface Call {
  readonly kind: "call";
  readonly target: Global;
  readonly args: readonly Pickled[];
  readonly items: Map<Pickled, Pickled>;
}

/** A value that lies outside of the pickle, by its id. */
export interface Persistent {
  readonly kind: "persistent";
  readonly id: Pickled;
}

/** A stack's mark: where the items of a tuple, a list or a dictionary begin. */
const MARK = Symbol("mark");

/** A pickle and where it ends. */
export interface Unpickled {
  readonly value: Pickled;
  /** Bytes from the start of the buffer to behind the pickle. */
  readonly end: number;
}

/**
 * The value that a pickle holds.
 * @param start offset of its first byte.
 * @throws {StateError} if it is damaged, or has an opcode that tensors do not need.
 */
export function unpickle(bytes: Uint8Array, file: string, start = 0): Unpickled {
  try {
    return run(bytes, start);
  } catch (cause) {
    if (StateError.is(cause)) throw new StateError(`${file}: ${cause.message}`, { cause });
    throw new StateError(`${file} is no pickle, or is damaged.`, { cause });
  }
}

function run(bytes: Uint8Array, start: number): Unpickled {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: (Pickled | typeof MARK)[] = [];
  const memo = new Map<number, Pickled>();
  let at = start;

  const take = (length: number): number => {
    if (at + length > bytes.length) throw new RangeError("the pickle ends too early");
    at += length;
    return at - length;
  };
  const u8 = (): number => view.getUint8(take(1));
  const u32 = (): number => view.getUint32(take(4), true);
  const text = (length: number): string => {
    const from = take(length);
    return new TextDecoder().decode(bytes.subarray(from, from + length));
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw new RangeError("a line has no end");
    const value = text(end - at);
    at++;
    return value;
  };
  const pop = (): Pickled => {
    const value = stack.pop();
    if (value === undefined || value === MARK) throw new RangeError("the stack is empty");
    return value;
  };
  const marked = (): readonly Pickled[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark < 0) throw new RangeError("there is no mark");
    const items = stack.splice(mark).slice(1) as Pickled[]; // behind the last mark there is none
    return items;
  };
  const top = (): Pickled => {
    const value = stack.at(-1);
    if (value === undefined || value === MARK) throw new RangeError("the stack is empty");
    return value;
  };
  const fill = (items: readonly Pickled[]): void => {
    const target = top();
    const into = isCall(target) ? target.items : target;
    if (!(into instanceof Map)) throw new RangeError("items go into a dictionary");
    for (let i = 0; i + 1 < items.length; i += 2) into.set(items[i] ?? null, items[i + 1] ?? null);
  };
  const append = (items: readonly Pickled[]): void => {
    const target = top();
    if (!Array.isArray(target)) throw new RangeError("items go into a list");
    target.push(...items);
  };
  const long = (length: number): number | bigint => {
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(u8()) << BigInt(8 * i);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  };
  const call = (args: Pickled, target: Pickled): Call => {
    if (!isGlobal(target) || !Array.isArray(args)) throw new RangeError("a call has a target and arguments");
    return { kind: "call", target, args: args as readonly Pickled[], items: new Map() };
  };
  const global = (module: Pickled, name: Pickled): Global => {
    if (typeof module !== "string" || typeof name !== "string") throw new RangeError("a global has a name");
    return { kind: "global", name: `${module}.${name}` };
  };
  const recall = (key: number): Pickled => {
    const value = memo.get(key);
    if (value === undefined) throw new RangeError("a memo is empty");
    return value;
  };
  const tuple = (count: number): Pickled => Array.from({ length: count }, pop).toReversed();

  const operations: Readonly<Record<string, () => Pickled | typeof MARK | undefined | void>> = {
    "\x80": () => void u8(), // PROTO
    "\x95": () => void take(8), // FRAME
    "(": () => MARK,
    "0": () => void pop(),
    N: () => null,
    "\x88": () => true,
    "\x89": () => false,
    J: () => view.getInt32(take(4), true),
    K: u8,
    M: () => view.getUint16(take(2), true),
    "\x8a": () => long(u8()),
    G: () => view.getFloat64(take(8)),
    I: () => Number(line().replace(/^0(?=[01]$)/, "")),
    X: () => text(u32()),
    "\x8c": () => text(u8()),
    U: () => text(u8()), // strings of Python 2
    T: () => text(u32()),
    "]": () => [],
    ")": () => [],
    "}": () => new Map(),
    t: () => marked(),
    l: () => [...marked()],
    d: () => {
      const items = marked();
      stack.push(new Map());
      fill(items);
    },
    "\x85": () => tuple(1),
    "\x86": () => tuple(2),
    "\x87": () => tuple(3),
    s: () => fill(tuple(2) as readonly Pickled[]), // a tuple of two
    u: () => fill(marked()),
    a: () => append([pop()]),
    e: () => append(marked()),
    q: () => void memo.set(u8(), top()),
    r: () => void memo.set(u32(), top()),
    "\x94": () => void memo.set(memo.size, top()),
    h: () => recall(u8()),
    j: () => recall(u32()),
    c: () => global(line(), line()),
    "\x93": () => {
      const name = pop();
      return global(pop(), name);
    },
    R: () => {
      const args = pop();
      return call(args, pop());
    },
    "\x81": () => {
      const args = pop();
      return call(args, pop());
    },
    b: () => void pop(), // the state of an object: nothing that tensors need
    Q: () => ({ kind: "persistent", id: pop() }),
    P: () => ({ kind: "persistent", id: line() }),
  };

  for (;;) {
    const opcode = String.fromCharCode(u8());
    if (opcode === ".") return { value: pop(), end: at };
    if (!Object.hasOwn(operations, opcode))
      throw new StateError(
        `the pickle has the opcode 0x${opcode.charCodeAt(0).toString(16)}, which files of tensors do not need.`,
      );
    const result = operations[opcode]?.();
    if (result !== undefined) stack.push(result);
  }
}

/** Whether a value is the name of a class or function. */
export const isGlobal = (value: Pickled): value is Global => kindOf(value) === "global";
/** Whether a value is what a call would make. */
export const isCall = (value: Pickled): value is Call => kindOf(value) === "call";
/** Whether a value lies outside of the pickle. */
export const isPersistent = (value: Pickled): value is Persistent => kindOf(value) === "persistent";

const kindOf = (value: Pickled): string | undefined =>
  typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
