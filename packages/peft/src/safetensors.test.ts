import { describe, expect, it } from "vitest";
import { type ByteSource, readHeader, writeSafetensors } from "./safetensors.ts";
import { openSafetensors, openShards } from "./tensor-file.ts";

const memory = (bytes: Uint8Array<ArrayBuffer>, name = "a.safetensors"): ByteSource => ({
  name,
  size: bytes.length,
  read: async (offset, length) => bytes.subarray(offset, offset + length),
});

const collect = async (pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> => {
  const all: number[] = [];
  for await (const piece of pieces) all.push(...piece);
  return Uint8Array.from(all);
};

/** A file of a given header, in JSON, and that many bytes of data. */
const fileOf = (header: string, data = 0): ByteSource => {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return memory(bytes);
};
const entry = (begin: number, end: number, { dtype = "F32", shape = [(end - begin) / 4] } = {}): string =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe("a tensor in pieces", () => {
  const MIB = 2 ** 20;
  const count = 10 * MIB + 1; // 40 MiB and four bytes: two whole pieces and a part of one
  /** Element i is i; `asked` are the stretches that are read. */
  const large = (asked: number[] = []): ByteSource => {
    const header = `{"x":${JSON.stringify({ dtype: "I32", shape: [count], data_offsets: [0, 4 * count] })}}`;
    const start = fileOf(header, 0);
    return {
      name: "large",
      size: start.size + 4 * count,
      read: async (offset, length, memory) => {
        if (offset < start.size) return start.read(offset, length);
        const first = (offset - start.size) / 4;
        const bytes = memory ?? new Uint8Array(length);
        new Int32Array(bytes.buffer, 0, length / 4).forEach((_, i, all) => (all[i] = first + i));
        asked.push(length);
        return bytes;
      },
    };
  };

  it("has the values of the whole, in order", async () => {
    const file = await openSafetensors(large());
    let at = 0;
    for await (const piece of file.pieces("x")!) {
      expect([piece[0], piece.at(-1)]).toEqual([at, at + piece.length - 1]);
      at += piece.length;
    }
    expect(at).toBe(count);
  });

  it("is read into the same memory again and again", async () => {
    const file = await openSafetensors(large());
    const memories = new Set<unknown>();
    for (let i = 0; i < 2; i++) for await (const piece of file.pieces("x")!) memories.add((piece as Int32Array).buffer);
    expect(memories.size).toBe(2);
  });

  it("is not read further once nobody asks", async () => {
    const asked: number[] = [];
    for await (const _ of (await openSafetensors(large(asked))).pieces("x")!) break;
    expect(asked).toEqual([16 * MIB, 16 * MIB]); // the second while the first was used
  });

  it("may be empty", async () => {
    const bytes = await collect(
      writeSafetensors([{ name: "x", dtype: "F32", shape: [0], data: () => new Float32Array() }]),
    );
    for await (const _ of (await openSafetensors(memory(bytes))).pieces("x")!) expect.unreachable();
  });
});

describe("a safetensors file", () => {
  it("holds what was written, of every type, whatever the order", async () => {
    const bytes = await collect(
      writeSafetensors([
        { name: "u8", dtype: "U8", shape: [3], data: () => Uint8Array.of(1, 2, 255) },
        { name: "f32", dtype: "F32", shape: [2, 1], data: async () => Float32Array.of(1.5, -2) },
        { name: "f16", dtype: "F16", shape: [1], data: () => Uint16Array.of(0x3c00) },
        { name: "bf16", dtype: "BF16", shape: [2], data: () => Uint16Array.of(0x3fc0, 0xc000) },
        { name: "i64", dtype: "I64", shape: [2], data: () => BigInt64Array.of(-1n, 7n) },
        { name: "i32", dtype: "I32", shape: [1], data: () => Int32Array.of(-9) },
        { name: "scalar", dtype: "F64", shape: [], data: () => Float64Array.of(0.1) },
        { name: "empty", dtype: "F32", shape: [0, 4], data: () => new Float32Array() },
      ]),
    );
    const file = await openSafetensors(memory(bytes));
    const values = Object.fromEntries(
      await Promise.all([...file.tensors.keys()].map(async (name) => [name, [...(await file.read(name))]])),
    );
    expect(values).toEqual({
      u8: [1, 2, 255],
      f32: [1.5, -2],
      f16: [0x3c00], // words, for the store to keep as they are
      bf16: [1.5, -2],
      i64: [-1, 7],
      i32: [-9],
      scalar: [0.1],
      empty: [],
    });
    expect(file.metadata).toEqual({ format: "pt" });
    expect(await file.bytes("u8")).toEqual(Uint8Array.of(1, 2, 255));
  });

  it("begins its data at a multiple of eight bytes, and every tensor at a multiple of its width", async () => {
    const data = (n: number) => () => new Uint8Array(n);
    const bytes = await collect(
      writeSafetensors([
        { name: "odd", dtype: "U8", shape: [3], data: data(3) },
        { name: "wide", dtype: "F32", shape: [1], data: data(4) },
      ]),
    );
    const { tensors } = await readHeader(memory(bytes));
    expect([...tensors].map(([name, { offset }]) => [name, offset % 8])).toEqual([
      ["wide", 0],
      ["odd", 4],
    ]);
  });

  it("is refused if the data of a tensor do not have its length", async () => {
    const pieces = writeSafetensors([{ name: "a", dtype: "F32", shape: [2], data: () => new Uint8Array(4) }]);
    await expect(collect(pieces)).rejects.toThrow("writing a: F32 [2] takes 8 bytes, got 4.");
  });

  const a = `"a":${entry(0, 8)}`;
  it.each([
    ["is empty", memory(new Uint8Array(3)), "a.safetensors is no safetensors file: it has 3 bytes"],
    [
      "has a header past its end",
      memory(Uint8Array.of(99, 0, 0, 0, 0, 0, 0, 0, 123)),
      "is truncated: its header ends at byte 107, the file at 9.",
    ],
    ["has a header beyond all measure", memory(new Uint8Array(64).fill(255)), "its header would have 1844674407370955"],
    ["has a header that is not JSON", fileOf("{nonsense"), "its header is not JSON."],
    ["has a header that is a list", fileOf("[]"), "its header is not a JSON object."],
    ["lacks the end of a tensor", fileOf(`{${a}}`, 4), "is truncated: a ends at byte 70, the file at 66."],
    ["goes on after its last tensor", fileOf(`{${a}}`, 12), "its tensors end at byte 70, the file at 74."],
    [
      "holds overlapping tensors",
      fileOf(`{${a},"b":${entry(4, 12)}}`, 12),
      "b begins at byte 120, but the tensor before it ends at 124",
    ],
    ["has a gap between tensors", fileOf(`{${a},"b":${entry(12, 16)}}`, 16), "must neither overlap nor leave gaps."],
    ["names a tensor twice", fileOf(`{${a},"a":${entry(0, 8)}}`, 8), "its header names a twice."],
    ["names a tensor twice, once escaped", fileOf(`{${a},"\\u0061" : ${entry(0, 8)}}`, 8), "its header names a twice."],
    ["has an unknown type", fileOf(`{"a":${entry(0, 8, { dtype: "F3" })}}`, 8), 'a has type "F3"; known are BOOL'],
    [
      "gives a tensor too few bytes",
      fileOf(`{"a":${entry(0, 8, { shape: [2, 3] })}}`, 8),
      "a (F32 [2, 3]) takes 24 bytes, its data_offsets give it 8.",
    ],
    [
      "has a negative length",
      fileOf(`{"a":${entry(0, 8, { shape: [-2] })}}`, 8),
      "a has shape [-2]; a list of lengths is expected.",
    ],
    [
      "has ranges that run backwards",
      fileOf(`{"a":${entry(8, 0, { shape: [2] })}}`, 8),
      "a has data_offsets [8,0]; [begin, end] is expected.",
    ],
  ])("is refused if it %s", async (_, source, message) => {
    await expect(readHeader(source)).rejects.toThrow(message);
  });

  it("may have keys within keys without being taken for naming a tensor twice", async () => {
    const { tensors } = await readHeader(fileOf(`{"__metadata__":{"a":"{\\"a\\":"},${a}}`, 8));
    expect([...tensors.keys()]).toEqual(["a"]);
  });

  it("says which tensor it lacks, and which it cannot read", async () => {
    const file = await openSafetensors(fileOf(`{"a":${entry(0, 2, { dtype: "I16", shape: [1] })}}`, 2));
    await expect(file.read("b")).rejects.toThrow("a.safetensors has no tensor b.");
    await expect(file.read("a")).rejects.toThrow(
      "a.safetensors: a is I16 [1]; only F64, F32, F16, BF16, I32, U32, U8, I64",
    );
  });

  it("does not cut a wide integer", async () => {
    const wide = { name: "a", dtype: "I64", shape: [1], data: () => BigInt64Array.of(2n ** 40n) } as const;
    const file = await openSafetensors(memory(await collect(writeSafetensors([wide]))));
    await expect(file.read("a")).rejects.toThrow("a holds 1099511627776, which does not fit in 32 bits.");
  });
});

describe("a checkpoint in shards", () => {
  const shards = async () =>
    new Map([
      [
        "1",
        memory(
          await collect(writeSafetensors([{ name: "a", dtype: "F32", shape: [1], data: () => Float32Array.of(1) }])),
          "1",
        ),
      ],
      [
        "2",
        memory(
          await collect(writeSafetensors([{ name: "b", dtype: "F32", shape: [1], data: () => Float32Array.of(2) }])),
          "2",
        ),
      ],
    ]);
  const open = async (weight_map: unknown) => {
    const files = await shards();
    return openShards({ weight_map }, "index.json", (file) => files.get(file)!);
  };

  it("reads each tensor from its own file", async () => {
    const file = await open({ a: "1", b: "2" });
    expect([...(await file.read("a")), ...(await file.read("b"))]).toEqual([1, 2]);
  });

  it("is refused if a shard lacks what the index places there", async () => {
    await expect(open({ a: "1", b: "1" })).rejects.toThrow("index.json places b in 1, which does not have it.");
  });

  it("is refused without a map of weights", async () => {
    await expect(open(undefined)).rejects.toThrow('index.json is no index of shards: it has no "weight_map"');
  });
});
