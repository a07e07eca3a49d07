/**
 * @file What lies where in a zip archive whose members are stored as they are, as torch writes them.
 * @see PKWARE APPNOTE.TXT 6.3.10, §4.3.
 */
import { StateError } from "./errors.ts";
import type { ByteSource } from "./safetensors.ts";

/** Bytes of a member of an archive. */
export interface ZipMember {
  /** Of its local header, from the start of the file. */
  readonly header: number;
  /** Length in bytes. */
  readonly size: number;
}

/** Longest comment at the end of an archive, with the record that it follows. */
const TAIL = 0xffff + 22;

/** Whether a file begins like an archive. */
export const isZip = (head: Uint8Array): boolean => head[0] === 0x50 && head[1] === 0x4b && head[2] === 3;

/** Members by name. @throws {StateError} if the archive is damaged, or a member is compressed. */
export async function readZip(source: ByteSource): Promise<ReadonlyMap<string, ZipMember>> {
  const fail = (what: string): StateError => new StateError(`${source.name} is a damaged archive: ${what}.`);
  const within = async (offset: number, length: number): Promise<DataView> => {
    if (offset < 0 || offset + length > source.size) throw fail("its directory points outside of the file");
    return new DataView((await source.read(offset, length)).slice().buffer);
  };
  const from = Math.max(0, source.size - TAIL);
  const tail = await within(from, source.size - from);
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw fail("it has no directory");
  let [count, size, offset] = [
    tail.getUint16(end + 10, true),
    tail.getUint32(end + 12, true),
    tail.getUint32(end + 16, true),
  ];
  if (end >= 20 && tail.getUint32(end - 20, true) === 0x07064b50) {
    const wide = await within(Number(tail.getBigUint64(end - 12, true)), 56);
    [count, size, offset] = [32, 40, 48].map((at) => Number(wide.getBigUint64(at, true))) as [number, number, number];
  }
  const directory = await within(offset, size);
  const members = new Map<string, ZipMember>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== 0x02014b50)
      throw fail("its directory ends too early");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) =>
      directory.getUint16(at + field, true),
    ) as [number, number, number]; // as many as fields
    const next = at + 46 + nameLength + extraLength + commentLength;
    if (next > directory.byteLength) throw fail("its directory ends too early");
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, nameLength));
    if (directory.getUint16(at + 10, true) !== 0) throw fail(`${name} is compressed, which torch never does`);
    members.set(name, wideFields(directory, at, at + 46 + nameLength, extraLength));
    at = next;
  }
  return members;
}

/** Size and place of a member; where 32 bits do not suffice they stand in an extra field. */
function wideFields(directory: DataView, at: number, extra: number, length: number): ZipMember {
  const NONE = 0xffffffff;
  const [packed, size, header] = [20, 24, 42].map((field) => directory.getUint32(at + field, true));
  const wide: number[] = [];
  for (let field = extra; field + 4 <= extra + length; field += 4 + directory.getUint16(field + 2, true))
    if (directory.getUint16(field, true) === 1)
      for (let i = field + 4; i + 8 <= field + 4 + directory.getUint16(field + 2, true); i += 8)
        wide.push(Number(directory.getBigUint64(i, true)));
  const full = size === NONE ? (wide.shift() ?? NONE) : (size ?? NONE);
  if (packed === NONE) wide.shift();
  return { size: full, header: header === NONE ? (wide.shift() ?? NONE) : (header ?? NONE) };
}

/** Offset of a member's first byte. */
export async function startOf(source: ByteSource, { header, size }: ZipMember): Promise<number> {
  const fail = new StateError(`${source.name} is a damaged archive: a member lies outside of the file.`);
  if (header + 30 > source.size) throw fail;
  const local = new DataView((await source.read(header, 30)).slice().buffer);
  const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (local.getUint32(0, true) !== 0x04034b50 || start + size > source.size) throw fail;
  return start;
}
