import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildModel, textTokenizer, type Turn } from "@graftml/models";
import { type JsonObject, openSafetensors, rngOf, writeSafetensors } from "@graftml/peft";
import { GraftError } from "@graftml/tensor";
import jpeg from "jpeg-js";
import { PNG } from "pngjs";
import { beforeEach, describe, expect, it } from "vitest";
import { layoutsOf } from "../src/data/columns.ts";
import { decodeImage } from "../src/data/image.ts";
import { firstRows } from "../src/data/read.ts";
import type { Columns } from "../src/data/row.ts";
import { config, emptyFolder, tokenizer } from "./helpers.ts";

/** Damaged copies of every file. */
const COPIES = 300;

/** A copy with up to four faults: bytes changed, put in, left out, repeated, or all that follows cut off. */
function damaged(bytes: Uint8Array, seed: number): Uint8Array {
  const { uniform } = rngOf(seed, "damage");
  const below = (n: number): number => Math.floor(uniform() * n);
  const favourites = [0, 1, 0x22, 0x2c, 0x30, 0x39, 0x5b, 0x7b, 0x7f, 0x80, 0xff];
  const byte = (): number => (uniform() < 0.5 ? below(256) : (favourites[below(favourites.length)] ?? 0));
  let list = [...bytes];
  for (let faults = 1 + below(4); faults > 0; faults--) {
    const at = below(list.length + 1);
    const kind = below(5);
    if (kind === 0) list[Math.min(at, list.length - 1)] = byte();
    else if (kind === 1) list.splice(at, 0, ...Array.from({ length: 1 + below(8) }, byte));
    else if (kind === 2) list.splice(at, 1 + below(8));
    else if (kind === 3) list.splice(at, 0, ...list.slice(below(at + 1), at));
    else list = list.slice(0, at);
  }
  return Uint8Array.from(list);
}

/** What may stand in JSON where something else was expected. */
const oddities = [null, true, -1, 0, 0.5, 1e308, 2 ** 53, "", "odd", "\ud800", [], [null], {}, { type: "Odd" }];

/** A copy of which up to two values are something else, or missing. */
function distorted(value: unknown, seed: number): unknown {
  const { uniform } = rngOf(seed, "distortion");
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(uniform() * list.length)];
  const copy: unknown = structuredClone(value);
  for (let faults = 1 + Math.floor(uniform() * 2); faults > 0; faults--) {
    const holders: [Record<string, unknown>, string][] = [];
    const walk = (node: unknown): void => {
      if (typeof node !== "object" || node === null) return;
      const holder = node as Record<string, unknown>;
      for (const key of Object.keys(holder)) {
        holders.push([holder, key]);
        walk(holder[key]);
      }
    };
    walk(copy);
    const [holder, key] = pick(holders) ?? [];
    if (holder === undefined || key === undefined) continue;
    if (uniform() < 0.2 && !Array.isArray(holder)) Reflect.deleteProperty(holder, key);
    else holder[key] = structuredClone(pick(oddities));
  }
  return copy;
}

/** Opens damaged copies; whatever is wrong with them must be told in our words. */
async function survives<T>(open: (copy: T) => unknown, copyOf: (seed: number) => T): Promise<void> {
  let refused = 0;
  for (let seed = 0; seed < COPIES; seed++)
    try {
      await open(copyOf(seed));
    } catch (error) {
      if (!GraftError.is(error)) throw new Error(`copy ${seed} ended with ${String(error)}`, { cause: error });
      expect(error.message.length, `the message for copy ${seed}`).toBeLessThan(2000);
      refused++;
    }
  expect(refused).toBeGreaterThan(0);
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const damagedBytes = (bytes: Uint8Array) => (seed: number) => damaged(bytes, seed);
const distortedJson = (value: unknown) => (seed: number) => distorted(value, seed) as JsonObject;

describe("damaged files of a model", { timeout: 60_000 }, () => {
  it("are refused where they are safetensors", async () => {
    const pieces: Uint8Array[] = [];
    const tensors = ["a", "b"].map((name, i) => ({
      name,
      dtype: "F32" as const,
      shape: [2, i + 1],
      data: () => new Float32Array(2 * (i + 1)),
    }));
    for await (const piece of writeSafetensors(tensors)) pieces.push(piece);
    const open = async (copy: Uint8Array): Promise<void> => {
      const file = await openSafetensors({
        name: "model.safetensors",
        size: copy.length,
        read: (offset, length) => Promise.resolve(Uint8Array.from(copy.subarray(offset, offset + length))),
      });
      for (const name of file.tensors.keys()) await file.read(name);
    };
    const bytes = Buffer.concat(pieces);
    await survives(open, damagedBytes(bytes));
    const [header, body] = [bytes.subarray(8, 8 + bytes.readUInt32LE(0)), bytes.subarray(8 + bytes.readUInt32LE(0))];
    await survives(open, (seed) => {
      const other = text(JSON.stringify(distorted(JSON.parse(header.toString()), seed)));
      const length = Buffer.alloc(8);
      length.writeUInt32LE(other.length);
      return Buffer.concat([length, other, body]);
    });
  });

  it("are refused where they are configurations", async () => {
    await survives((copy) => buildModel(copy), distortedJson(config));
  });

  it("are refused where they are tokenizers", async () => {
    await survives((copy) => {
      const opened = textTokenizer(copy, {});
      opened.decode(opened.encode("the cat sat"));
    }, distortedJson(tokenizer));
  });
});

describe("a damaged chat template", () => {
  it("is refused, or writes chats", async () => {
    const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, "golden/chat.json"), "utf8")) as {
      readonly cases: readonly { readonly marked: string; readonly chats: readonly { readonly messages: Turn[] }[] }[];
    };
    for (const { marked, chats } of cases)
      await survives(
        (copy) => {
          const template = new TextDecoder().decode(copy);
          const { chat } = textTokenizer(tokenizer, { chat_template: template, bos_token: "<s>" });
          for (const { messages } of chats) chat?.render(messages);
        },
        damagedBytes(text(marked)),
      );
  });
});

describe("damaged data", { timeout: 60_000 }, () => {
  let folder = "";
  beforeEach(() => (folder = emptyFolder()));

  const rows = (name: string, columns: Columns, task: keyof typeof layoutsOf) => (copy: Uint8Array) => {
    const file = join(folder, name);
    writeFileSync(file, copy);
    return firstRows(file, { columns, layouts: layoutsOf[task] }, Infinity);
  };
  const tagging = { tokens: "form", tags: "upos" };
  const chat = {
    messages: [
      { role: "user", content: "hi" },
      { role: "assistant", content: "ho" },
    ],
  };

  it.each<[string, string, Columns, keyof typeof layoutsOf]>([
    ["a.jsonl", '{"text":"one","n":[1,{"a":null}]}\n{"text":"zwölf"}\n', { text: "text" }, "causal-lm"],
    ["a.json", '[{"text":"one"},\n{"text":"two","n":1e3}]', { text: "text" }, "causal-lm"],
    [
      "a.csv",
      'text,label\n"a ""b"", c",1\r\n"two\nlines",2\n',
      { text: "text", label: "label" },
      "sequence-classification",
    ],
    ["a.tsv", 'text\tlabel\nsay "hi\t1\n', { text: "text", label: "label" }, "sequence-classification"],
    ["a.conllu", "# text = a b\n1\ta\t_\tX\t_\t_\t0\troot\t_\t_\n\n", tagging, "token-classification"],
    ["a.conll", "EU B-ORG\nrejects O\n\n", { tokens: 0, tags: 1 }, "token-classification"],
    ["a.txt", "running\ntext", { text: "text" }, "causal-lm"],
  ])("is refused or read in %s", async (name, content, columns, task) => {
    await survives(rows(name, columns, task), damagedBytes(text(content)));
  });

  it("is refused or read where it is chats of another form", async () => {
    const read = rows("a.jsonl", { messages: "messages" }, "causal-lm");
    await survives(read, (seed) => text(JSON.stringify(distorted(chat, seed))));
  });

  it.each(["snappy", "zstd", "gzip"])("is refused or read in Parquet (%s)", async (compression) => {
    const bytes = readFileSync(join(import.meta.dirname, `golden/rows-${compression}.parquet`));
    const read = rows("a.parquet", { image: "image", label: "label" }, "image-classification");
    await survives(read, damagedBytes(bytes));
  });

  it("is refused or read in images", async () => {
    const data = Buffer.from(Array.from({ length: 8 * 8 * 4 }, (_, i) => (i * 37) % 256));
    const png = PNG.sync.write(Object.assign(new PNG({ width: 8, height: 8 }), { data }));
    const { data: jpg } = jpeg.encode({ width: 8, height: 8, data }, 80);
    for (const bytes of [png, jpg]) await survives((copy) => decodeImage(copy, "a picture"), damagedBytes(bytes));
  });
});
