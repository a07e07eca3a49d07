/**
 * @file The safetensors format: reading and checking headers, writing files.
 * @see https://github.com/huggingface/safetensors#format
 */
import { type Shape, show, sizeOf } from "@graftml/tensor";
import { StateError } from "./errors.ts";

/** Bytes that can be read piece by piece: a file, a blob, a response to ranged requests. */
export interface ByteSource {
  /** Path or address, for messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * The bytes from `offset` on.
   * @param memory of that length to read into, for a source that can; what is returned holds the bytes either way.
   * @throws {StateError} if there are fewer than `length`.
   */
  read(offset: number, length: number, memory?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** Bytes of one element of every type that the format knows. */
export const fileTypeWidths = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

/** Name of an element type in a file. */
export type FileType = keyof typeof fileTypeWidths;

/** Bytes of one element. */
export const widthOf = (type: FileType): number => fileTypeWidths[type];

/** Where a tensor lies in a file. */
export interface TensorEntry {
  readonly dtype: FileType;
  readonly shape: Shape;
  /** Of its first byte, from the start of the file. */
  readonly offset: number;
  /** Length in bytes. */
  readonly bytes: number;
}

/** What a file holds. */
export interface Header {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Longest header the reference implementation accepts, in bytes. */
const HEADER_LIMIT = 100_000_000;

/**
 * Reads and checks the header of a file: every tensor's bytes must be there, in one piece, without overlap, gap or rest.
 * @throws {StateError} naming the file, the tensor, what was expected and what is there.
 */
export async function readHeader(source: ByteSource): Promise<Header> {
  const { name: file, size } = source;
  if (size < 8)
    throw new StateError(
      `${file} is no safetensors file: it has ${size} bytes, the length of the header alone takes 8.`,
    );
  const length = Number(new DataView((await source.read(0, 8)).buffer).getBigUint64(0, true));
  if (length > HEADER_LIMIT)
    throw new StateError(
      `${file} is no safetensors file: its header would have ${length} bytes, ${HEADER_LIMIT} are allowed.`,
    );
  const start = 8 + length;
  if (start > size)
    throw new StateError(`${file} is truncated: its header ends at byte ${start}, the file at ${size}.`);

  const { __metadata__: metadata, ...rest } = parseHeader(file, new TextDecoder().decode(await source.read(8, length)));
  const tensors = new Map(Object.entries(rest).map(([name, value]) => [name, entryOf(file, name, value, start)]));
  let end = start;
  for (const [name, { offset, bytes }] of [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes,
  )) {
    if (offset !== end)
      throw new StateError(
        `${file}: ${name} begins at byte ${offset}, but the tensor before it ends at ${end}; tensors must neither overlap nor leave gaps.`,
      );
    end = offset + bytes;
    if (end > size) throw new StateError(`${file} is truncated: ${name} ends at byte ${end}, the file at ${size}.`);
  }
  if (end !== size) throw new StateError(`${file}: its tensors end at byte ${end}, the file at ${size}.`);
  return { tensors, metadata: (metadata ?? {}) as Record<string, string> }; // the format says strings; nothing depends on it
}

function parseHeader(file: string, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (cause) {
    throw new StateError(`${file} is no safetensors file: its header is not JSON.`, { cause });
  }
  if (typeof header !== "object" || header === null || Array.isArray(header))
    throw new StateError(`${file} is no safetensors file: its header is not a JSON object.`);
  const seen = new Set<string>();
  for (const key of keysOf(text)) {
    if (seen.has(key)) throw new StateError(`${file}: its header names ${key} twice.`);
    seen.add(key);
  }
  return header as Record<string, unknown>; // a JSON object has string keys
}

/** Keys of a JSON object as written: JSON.parse keeps only the last of two equal ones. */
function* keysOf(json: string): Iterable<string> {
  let depth = 0;
  for (const [token, colon] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && colon !== undefined) yield JSON.parse(token.slice(0, -colon.length)) as string; // a JSON string
  }
}

const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && Number(x) >= 0;

function entryOf(file: string, name: string, value: unknown, start: number): TensorEntry {
  const { dtype, shape, data_offsets: range } = (value ?? {}) as Readonly<Record<string, unknown>>; // fields are checked below
  if (typeof dtype !== "string" || !Object.hasOwn(fileTypeWidths, dtype))
    throw new StateError(
      `${file}: ${name} has type ${JSON.stringify(dtype)}; known are ${Object.keys(fileTypeWidths).join(", ")}.`,
    );
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new StateError(`${file}: ${name} has shape ${JSON.stringify(shape)}; a list of lengths is expected.`);
  const [begin, end] = Array.isArray(range) && range.length === 2 ? (range as readonly unknown[]) : [];
  if (!isCount(begin) || !isCount(end) || end < begin)
    throw new StateError(`${file}: ${name} has data_offsets ${JSON.stringify(range)}; [begin, end] is expected.`);
  const type = dtype as FileType; // hasOwn says so
  const bytes = sizeOf(shape) * fileTypeWidths[type];
  if (end - begin !== bytes)
    throw new StateError(
      `${file}: ${name} (${type} ${show(shape)}) takes ${bytes} bytes, its data_offsets give it ${end - begin}.`,
    );
  return { dtype: type, shape, offset: start + begin, bytes };
}

/** A tensor to be written; `data` is asked for when its turn comes. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: FileType;
  readonly shape: Shape;
  readonly data: () => ArrayBufferView<ArrayBuffer> | Promise<ArrayBufferView<ArrayBuffer>>;
}

/**
 * The bytes of a file, piece by piece, so that a file may be larger than memory. Wider types come first, so that every
 * tensor is aligned; then names decide. Metadata `format: "pt"` is what transformers and PEFT look for.
 * @throws {StateError} if data do not have the length that type and shape give.
 */
export async function* writeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const ordered = tensors.toSorted(
    (a, b) => fileTypeWidths[b.dtype] - fileTypeWidths[a.dtype] || (a.name < b.name ? -1 : 1),
  );
  const bytesOf = ({ dtype, shape }: TensorToWrite): number => sizeOf(shape) * fileTypeWidths[dtype];
  let end = 0;
  const entries = ordered.map((t) => [
    t.name,
    { dtype: t.dtype, shape: t.shape, data_offsets: [end, (end += bytesOf(t))] },
  ]);
  const header = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }));
  const padded = new Uint8Array(8 + Math.ceil(header.length / 8) * 8).fill(0x20); // spaces
  padded.set(header, 8);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  yield padded;
  for (const tensor of ordered) {
    const { buffer, byteOffset, byteLength } = await tensor.data();
    if (byteLength !== bytesOf(tensor))
      throw new StateError(
        `writing ${tensor.name}: ${tensor.dtype} ${show(tensor.shape)} takes ${bytesOf(tensor)} bytes, got ${byteLength}.`,
      );
    yield new Uint8Array(buffer, byteOffset, byteLength);
  }
}
