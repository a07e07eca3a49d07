/** @file The smallest Parquet file there can be: one column of texts, plain and uncompressed. @see github.com/apache/parquet-format */

/** Thrift's compact encoding of the kinds of values that are needed. */
type Thrift = number | string | readonly Thrift[] | { readonly [field: number]: Thrift };

const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const typeOf = (value: Thrift): number =>
  typeof value === "number" ? 5 : typeof value === "string" ? 8 : Array.isArray(value) ? 9 : 12;

function encode(value: Thrift): number[] {
  if (typeof value === "number") return varint(value * 2);
  if (typeof value === "string") return [...varint(value.length), ...Buffer.from(value)];
  if (Array.isArray(value)) return [(value.length << 4) | typeOf(value[0] as Thrift), ...value.flatMap(encode)];
  let last = 0;
  const fields = Object.entries(value as Readonly<Record<string, Thrift>>).flatMap(([key, field]) => {
    const head = ((Number(key) - last) << 4) | typeOf(field);
    last = Number(key);
    return [head, ...encode(field)];
  });
  return [...fields, 0];
}

/** A Parquet file of one column. @param described what datasets writes into such files, as JSON. */
export function parquet(column: string, texts: readonly string[], described?: string): Uint8Array {
  const u32 = (n: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(n);
    return bytes;
  };
  const data = Buffer.concat(texts.flatMap((text) => [u32(Buffer.byteLength(text)), Buffer.from(text)]));
  const [bytes, rows] = [data.length, texts.length];
  const page = Buffer.concat([
    Buffer.from(encode({ 1: 0, 2: bytes, 3: bytes, 5: { 1: rows, 2: 0, 3: 3, 4: 3 } })),
    data,
  ]);
  const chunk = { 1: 6, 2: [0], 3: [column], 4: 0, 5: rows, 6: page.length, 7: page.length, 9: 4 };
  const schema = [
    { 4: "root", 5: 1 },
    { 1: 6, 3: 0, 4: column, 6: 0 },
  ];
  const groups = [{ 1: [{ 2: 4, 3: chunk }], 2: page.length, 3: rows }];
  const footer = Buffer.from(
    encode({
      1: 1,
      2: schema,
      3: rows,
      4: groups,
      ...(described !== undefined && { 5: [{ 1: "huggingface", 2: described }] }),
    }),
  );
  return Buffer.concat([Buffer.from("PAR1"), page, footer, u32(footer.length), Buffer.from("PAR1")]);
}
