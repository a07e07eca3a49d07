/**
 * @file Tensors from files that `torch.save` wrote. They are pickles; nothing in them is executed.
 * @see torch `serialization.py`; `_utils.py`, `_rebuild_tensor_v2`.
 */
import { type Shape, sizeOf, type Source } from "@graftml/tensor";
import { StateError } from "./errors.ts";
import { isCall, isGlobal, isPersistent, type Pickled, unpickle } from "./pickle.ts";
import { type ByteSource, type FileType, fileTypeWidths } from "./safetensors.ts";
import { decode } from "./tensor-file.ts";
import { isZip, readZip, startOf } from "./zip.ts";

/** An opened file of tensors. */
export interface TorchFile {
  readonly tensors: ReadonlyMap<string, { readonly shape: Shape }>;
  /** Values of a tensor, as `TensorFile.read` gives them. @throws {StateError} if there is no such tensor. */
  read(name: string): Promise<Source>;
}

/** Storages' element types by their classes. */
const storageTypes: Readonly<Record<string, FileType>> = {
  "torch.DoubleStorage": "F64",
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ByteStorage": "U8",
};

/** A tensor as a view of a storage. Offsets and strides count elements. */
interface View {
  readonly storage: string;
  readonly dtype: FileType;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
}

/** Where a storage lies in the file, in bytes. */
interface Place {
  readonly start: number;
  readonly size: number;
}

/**
 * Opens a file that holds a dictionary of tensors.
 * @throws {StateError} if it is damaged, or holds anything else: the message says what, and where.
 */
export async function openTorch(source: ByteSource): Promise<TorchFile> {
  const head = await source.read(0, Math.min(4, source.size));
  const { value, place } = isZip(head) ? await openArchive(source) : await openLegacy(source);
  const tensors = viewsOf(value, source.name);
  return {
    tensors,
    read: async (name) => {
      const view = tensors.get(name);
      if (view === undefined) throw new StateError(`${source.name} has no tensor ${name}.`);
      const width = fileTypeWidths[view.dtype];
      const { start, size } = await place(view.storage);
      const last = view.shape.reduce(
        (sum, length, axis) => sum + (length - 1) * (view.strides[axis] ?? 0),
        view.offset,
      );
      if (sizeOf(view.shape) > 0 && (last + 1) * width > size)
        throw new StateError(`${source.name}: ${name} reaches beyond its ${size} bytes.`);
      const from = view.offset * width;
      const bytes = await source.read(start + from, sizeOf(view.shape) === 0 ? 0 : (last + 1) * width - from);
      const entry = { dtype: view.dtype, shape: view.shape, offset: 0, bytes: sizeOf(view.shape) * width };
      return decode(`${source.name}: ${name}`, entry, inOrder(bytes, view, width));
    },
  };
}

/** Since torch 1.6: an archive with the pickle and a member for each storage. */
async function openArchive(source: ByteSource) {
  const members = await readZip(source);
  const pickle = [...members].find(([name]) => name.endsWith("/data.pkl"));
  if (pickle === undefined) throw new StateError(`${source.name} is no file of torch: it has no data.pkl.`);
  const [name, member] = pickle;
  const root = name.slice(0, -"data.pkl".length);
  const order = members.get(`${root}byteorder`);
  if (
    order !== undefined &&
    new TextDecoder().decode(await source.read(await startOf(source, order), order.size)) !== "little"
  )
    throw new StateError(
      `${source.name} was written with the other order of bytes; save it again on a common machine.`,
    );
  const { value } = unpickle(await source.read(await startOf(source, member), member.size), source.name);
  return {
    value,
    place: async (storage: string): Promise<Place> => {
      const found = members.get(`${root}data/${storage}`);
      if (found === undefined) throw new StateError(`${source.name} lacks the storage ${storage}.`);
      return { start: await startOf(source, found), size: found.size };
    },
  };
}

/** The first number of files before torch 1.6. */
const MAGIC = 0x1950a86a20f9469cfc6cn;

/** Before: pickles one after another (magic, version, system, tensors, keys), and then the storages. */
async function openLegacy(source: ByteSource) {
  const bytes = await source.read(0, source.size);
  let at = 0;
  const next = (): Pickled => {
    const { value, end } = unpickle(bytes, source.name, at);
    at = end;
    return value;
  };
  if (next() !== MAGIC) throw new StateError(`${source.name} is no file of torch.`);
  next(); // version of the protocol
  next(); // sizes of C's types where it was written
  const value = next();
  const keys = next();
  const types = new Map([...viewsOf(value, source.name).values()].map((view) => [view.storage, view.dtype]));
  const places = new Map<string, Place>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const key of Array.isArray(keys) ? (keys as readonly Pickled[]) : []) {
    if (typeof key !== "string") throw new StateError(`${source.name} is damaged: a storage has no name.`);
    const dtype = types.get(key);
    if (dtype === undefined || at + 8 > bytes.length)
      throw new StateError(`${source.name} is damaged: storage ${key}.`);
    const size = Number(view.getBigUint64(at, true)) * fileTypeWidths[dtype];
    places.set(key, { start: at + 8, size });
    at += 8 + size;
    if (at > bytes.length) throw new StateError(`${source.name} is truncated: storage ${key} ends at byte ${at}.`);
  }
  return {
    value,
    place: async (storage: string): Promise<Place> => {
      const found = places.get(storage);
      if (found === undefined) throw new StateError(`${source.name} lacks the storage ${storage}.`);
      return found;
    },
  };
}

/** The tensors of a pickled dictionary. @throws {StateError} if it is none, or holds anything but tensors. */
function viewsOf(value: Pickled, file: string): ReadonlyMap<string, View> {
  const isOrdered = isCall(value) && value.target.name === "collections.OrderedDict";
  const items = isOrdered ? value.items : value;
  if (!(items instanceof Map))
    throw new StateError(`${file} holds ${described(value)}; a dictionary of tensors is expected.`);
  // Its keys and values are what the pickle has: that they are names and tensors is checked here.
  const entries = [...(items as ReadonlyMap<Pickled, Pickled>)];
  return new Map(
    entries.map(([name, tensor]) => {
      if (typeof name !== "string") throw new StateError(`${file} has a key that is no name: ${described(name)}.`);
      const view = viewOf(tensor);
      if (view === null) throw new StateError(`${file}: ${name} is ${described(tensor)}, not a tensor.`);
      return [name, view];
    }),
  );
}

function viewOf(value: Pickled): View | null {
  if (!isCall(value)) return null;
  const { target, args } = value;
  if (target.name === "torch._utils._rebuild_parameter") return viewOf(args[0] ?? null);
  const [storage = null, offset = null, shape = null, strides = null] = args;
  if (target.name !== "torch._utils._rebuild_tensor_v2" || !isPersistent(storage)) return null;
  const [kind, type = null, key = null] = Array.isArray(storage.id) ? (storage.id as readonly Pickled[]) : [];
  const dtype = isGlobal(type) ? storageTypes[type.name] : undefined;
  const isCounts = (list: Pickled): list is readonly number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && Number(n) >= 0);
  if (kind !== "storage" || typeof key !== "string" || dtype === undefined || !isCounts(shape) || !isCounts(strides))
    return null;
  if (strides.length !== shape.length || !Number.isSafeInteger(offset) || Number(offset) < 0) return null;
  if (!Number.isSafeInteger(sizeOf(shape))) return null;
  return { storage: key, dtype, offset: Number(offset), shape, strides };
}

/** A value in words, for messages: what it would call is named, never called. */
const described = (value: Pickled): string =>
  isCall(value)
    ? `what ${value.target.name} would make, which is not called`
    : isGlobal(value)
      ? value.name
      : value instanceof Map
        ? "a dictionary"
        : Array.isArray(value)
          ? "a list"
          : typeof value;

/** Elements of a view, the last axis fastest. */
function inOrder(bytes: Uint8Array<ArrayBuffer>, { shape, strides }: View, width: number): Uint8Array<ArrayBuffer> {
  const count = sizeOf(shape);
  if (count * width === bytes.length && isDense(shape, strides)) return bytes;
  const ordered = new Uint8Array(count * width);
  for (let i = 0; i < count; i++) {
    let [rest, from] = [i, 0];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] ?? 1;
      from += (rest % length) * (strides[axis] ?? 0);
      rest = Math.floor(rest / length);
    }
    ordered.set(bytes.subarray(from * width, (from + 1) * width), i * width);
  }
  return ordered;
}

function isDense(shape: Shape, strides: readonly number[]): boolean {
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== step) return false;
    step *= shape[axis] ?? 1;
  }
  return true;
}
