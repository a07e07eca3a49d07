/** @file Reading tensors, one at a time, from a safetensors file or from the shards of a large one. */
import { show, sizeOf, type Source } from "@graftml/tensor";
import { StateError } from "./errors.ts";
import { widenBrain } from "./half.ts";
import { type ByteSource, type FileType, readHeader, type TensorEntry, widthOf } from "./safetensors.ts";

/** An opened file, or the shards of one. */
export interface TensorFile {
  /** For messages. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Values of a tensor. F32 as they are, BF16 widened to f32, F16 as 16-bit words, integers as 32-bit ones.
   * @throws {StateError} if there is no such tensor, or its type cannot be read.
   */
  read(name: string): Promise<Source>;
  /**
   * The same piece by piece, in memory that is used again: a piece is good until the next one is asked for. Null where a
   * tensor can only be had whole.
   */
  pieces(name: string): AsyncIterable<Source> | null;
  /** Bytes of a tensor, as they are. */
  bytes(name: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** Opens a safetensors file: reads and checks its header, and nothing else. */
export async function openSafetensors(source: ByteSource): Promise<TensorFile> {
  return tensorFile(source.name, [{ source, ...(await readHeader(source)) }]);
}

/**
 * Opens a checkpoint in shards, checking every shard's header against the index.
 * @param index the parsed `model.safetensors.index.json`: {"weight_map": {tensor: file}}.
 * @param name of the index, for messages.
 * @throws {StateError} if a shard is damaged, or lacks a tensor that the index places there.
 */
export async function openShards(
  index: unknown,
  name: string,
  open: (file: string) => ByteSource | Promise<ByteSource>,
): Promise<TensorFile> {
  const map = (index as { readonly weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || !Object.values(map).every((file) => typeof file === "string"))
    throw new StateError(`${name} is no index of shards: it has no "weight_map" from tensors to files.`);
  const files = map as Readonly<Record<string, string>>; // just checked
  const shards = new Map<string, Shard>();
  for (const file of new Set(Object.values(files))) {
    const source = await open(file);
    shards.set(file, { source, ...(await readHeader(source)) });
  }
  for (const [tensor, file] of Object.entries(files))
    if (shards.get(file)?.tensors.has(tensor) !== true)
      throw new StateError(`${name} places ${tensor} in ${file}, which does not have it.`);
  return tensorFile(name, [...shards.values()]);
}

interface Shard {
  readonly source: ByteSource;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

function tensorFile(name: string, shards: readonly Shard[]): TensorFile {
  const places = new Map<string, Shard>();
  for (const shard of shards)
    for (const tensor of shard.tensors.keys()) {
      const other = places.get(tensor);
      if (other !== undefined)
        throw new StateError(`${tensor} is both in ${other.source.name} and in ${shard.source.name}.`);
      places.set(tensor, shard);
    }
  const find = (tensor: string): { readonly source: ByteSource; readonly entry: TensorEntry } => {
    const shard = places.get(tensor);
    const entry = shard?.tensors.get(tensor);
    if (shard === undefined || entry === undefined) throw new StateError(`${name} has no tensor ${tensor}.`);
    return { source: shard.source, entry };
  };
  const bytes = async (tensor: string): Promise<Uint8Array<ArrayBuffer>> => {
    const { source, entry } = find(tensor);
    return source.read(entry.offset, entry.bytes);
  };
  const tensors = new Map(shards.flatMap((s) => [...s.tensors]));
  const memory = memoryFor([...tensors.values()].reduce((most, t) => Math.max(most, t.bytes), 0));
  return {
    name,
    tensors,
    metadata: Object.assign({}, ...shards.map((s) => s.metadata)) as Record<string, string>, // a union of such
    bytes,
    pieces: (tensor) => {
      const place = find(tensor);
      return piecesOf(place, `${place.source.name}: ${tensor}`, memory);
    },
    read: async (tensor) => {
      const { source, entry } = find(tensor);
      return decode(`${source.name}: ${tensor}`, entry, await source.read(entry.offset, entry.bytes));
    },
  };
}

/** Bytes of a piece: whole elements of every type. */
const PIECE = 2 ** 24;

/** Memory for pieces, used again. */
function memoryFor(largest: number): { take(): ArrayBuffer; giveBack(memory: ArrayBuffer): void } {
  const spare: ArrayBuffer[] = [];
  return {
    take: () => spare.pop() ?? new ArrayBuffer(Math.min(PIECE, largest)),
    giveBack: (memory) => void spare.push(memory),
  };
}

/** A tensor's values piece by piece; while one is used, the next one is read. */
async function* piecesOf(
  { source, entry }: { readonly source: ByteSource; readonly entry: TensorEntry },
  where: string,
  memory: ReturnType<typeof memoryFor>,
): AsyncGenerator<Source> {
  const read = (at: number) => {
    const own = memory.take();
    const length = Math.min(PIECE, entry.bytes - at);
    const bytes = source.read(entry.offset + at, length, new Uint8Array(own, 0, length));
    bytes.catch(() => undefined); // told where it is awaited, if it still is
    return { own, bytes };
  };
  let next = entry.bytes > 0 ? read(0) : null;
  for (let at = PIECE; next !== null; at += PIECE) {
    const { own, bytes } = next;
    const piece = await bytes;
    next = at < entry.bytes ? read(at) : null;
    yield decode(where, { ...entry, shape: [piece.length / widthOf(entry.dtype)] }, piece);
    memory.giveBack(own);
  }
}

/** Values of `count` elements that begin at an aligned offset of a buffer. */
type Decoder = (buffer: ArrayBuffer, offset: number, count: number, where: string) => Source;

const decoders: Partial<Readonly<Record<FileType, Decoder>>> = {
  F64: (buffer, offset, count) => new Float64Array(buffer, offset, count),
  F32: (buffer, offset, count) => new Float32Array(buffer, offset, count),
  F16: (buffer, offset, count) => new Uint16Array(buffer, offset, count),
  BF16: (buffer, offset, count) => widenBrain(new Uint16Array(buffer, offset, count)),
  I32: (buffer, offset, count) => new Int32Array(buffer, offset, count),
  U32: (buffer, offset, count) => new Uint32Array(buffer, offset, count),
  U8: (buffer, offset, count) => Uint32Array.from(new Uint8Array(buffer, offset, count)),
  I64: (buffer, offset, count, where) =>
    Int32Array.from(new BigInt64Array(buffer, offset, count), (x) => {
      if (BigInt.asIntN(32, x) !== x) throw new StateError(`${where} holds ${x}, which does not fit in 32 bits.`);
      return Number(x);
    }),
};

/** Values of a tensor from its bytes. @throws {StateError} if its type cannot be read. */
export function decode(where: string, { dtype, shape }: TensorEntry, bytes: Uint8Array<ArrayBuffer>): Source {
  const decoder = decoders[dtype];
  if (decoder === undefined)
    throw new StateError(
      `${where} is ${dtype} ${show(shape)}; only ${Object.keys(decoders).join(", ")} can be read. Convert it with torch.`,
    );
  // Typed arrays want aligned data, and a source may hand out a piece of something larger.
  const { buffer, byteOffset } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  return decoder(buffer, byteOffset, sizeOf(shape), where);
}
