import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { withFiles } from "../../test/helpers.ts";
import { parquet } from "../../test/parquet.ts";
import { UsageError } from "../errors.ts";
import { layoutsOf } from "./columns.ts";
import { firstRows, type Wanted } from "./read.ts";
import type { Columns, Row } from "./row.ts";

const files = {
  "a.jsonl": '{"text":"one"}\r\n\n{"text":"two","n":1}\n',
  "a.json": '[{"text":"one"},\n{"text":2}]',
  "a.csv": '\uFEFFid, text\r\n1,"a ""b"", c"\r\n2,"two\nlines"\r\n',
  "a.tsv": 'text\tlabel\nsay "hi\t1\n',
  "cola.tsv": "gj04\t1\t\tOur friends\nc-05\t0\t*\tThey drank\n",
  "sts.csv": 'MSRvid\t5.0\tA plane.\t"A" plane, too.\nMSRvid\t1.5\tA man.\tA dog, big.\textra\n',
  "pairs.jsonl": '{"prompt":"1+1=","completion":"2"}\n',
  "chat.jsonl": '{"messages":[{"role":"user","content":"Hi","name":"x"},{"role":"assistant","content":null}]}\n',
  "asked.jsonl": '{"prompt":[{"role":"user","content":"Hi"}],"completion":[{"role":"assistant","content":"Ho"}]}\n',
  "several.jsonl": '{"text":"one","label":["a",2]}\n{"text":"two","label":[]}\n',
  "shared.jsonl": '{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Ho"}]}\n',
  "a.txt": "running\n\ntext\n",
  "a.conllu":
    "# text = Vámonos al mar\n1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_\n1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_\n2\tnos\t_\tPRON\t_\t_\t1\tobj\t_\t_\n\n",
  "a.conll": "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n",
};

const tasks = {
  text: layoutsOf["causal-lm"],
  pairs: layoutsOf["sequence-classification"],
  tags: layoutsOf["token-classification"],
};

async function all(file: string | readonly string[], wanted: Wanted): Promise<readonly Row[]> {
  const rows = await firstRows(file, wanted, Infinity);
  return rows.map((row) => ({ ...row, origin: row.origin.replace(/^.*\//, "") }));
}

const read = (name: string, columns?: Columns, layouts: Wanted["layouts"] = tasks.text): Promise<readonly Row[]> =>
  all(join(withFiles(files), name), { columns, layouts });

describe("data files", () => {
  it.each<[string, Columns | undefined, Wanted["layouts"], readonly Row[]]>([
    [
      "a.jsonl",
      undefined,
      tasks.text,
      [
        { text: "one", origin: "a.jsonl:1" },
        { text: "two", origin: "a.jsonl:3" },
      ],
    ],
    [
      "a.json",
      { text: "text" },
      tasks.text,
      [
        { text: "one", origin: "a.json[0]" },
        { text: "2", origin: "a.json[1]" },
      ],
    ],
    [
      "a.csv",
      undefined,
      tasks.text,
      [
        { text: 'a "b", c', origin: "a.csv:2" },
        { text: "two\nlines", origin: "a.csv:4" },
      ],
    ],
    ["a.tsv", undefined, tasks.pairs, [{ text: 'say "hi', label: "1", origin: "a.tsv:2" }]],
    [
      "cola.tsv",
      { text: 3, label: 1 },
      tasks.pairs,
      [
        { text: "Our friends", label: "1", origin: "cola.tsv:1" },
        { text: "They drank", label: "0", origin: "cola.tsv:2" },
      ],
    ],
    [
      "sts.csv",
      { text: 2, pair: 3, label: 1 },
      tasks.pairs,
      [
        { text: "A plane.", pair: '"A" plane, too.', label: "5.0", origin: "sts.csv:1" },
        { text: "A man.", pair: "A dog, big.", label: "1.5", origin: "sts.csv:2" },
      ],
    ],
    ["pairs.jsonl", undefined, tasks.text, [{ prompt: "1+1=", completion: "2", origin: "pairs.jsonl:1" }]],
    [
      "chat.jsonl",
      undefined,
      tasks.text,
      [
        {
          messages: [
            { role: "user", content: "Hi", name: "x" },
            { role: "assistant", content: "" },
          ],
          origin: "chat.jsonl:1",
        },
      ],
    ],
    [
      "shared.jsonl",
      { messages: "conversations" },
      tasks.text,
      [
        {
          messages: [
            { role: "user", content: "Hi" },
            { role: "assistant", content: "Ho" },
          ],
          origin: "shared.jsonl:1",
        },
      ],
    ],
    [
      "asked.jsonl",
      undefined,
      tasks.text,
      [
        {
          messages: [
            { role: "user", content: "Hi" },
            { role: "assistant", content: "Ho" },
          ],
          asked: 1,
          origin: "asked.jsonl:1",
        },
      ],
    ],
    [
      "several.jsonl",
      undefined,
      tasks.pairs,
      [
        { text: "one", label: ["a", 2], origin: "several.jsonl:1" },
        { text: "two", label: [], origin: "several.jsonl:2" },
      ],
    ],
    ["a.txt", undefined, tasks.text, [{ text: "running\n\ntext\n", origin: "a.txt", running: "first" }]],
    [
      "a.conllu",
      { tokens: "form", tags: "upos" },
      tasks.tags,
      [{ tokens: ["Vamos", "nos"], tags: ["VERB", "PRON"], origin: "a.conllu:1" }],
    ],
    ["a.conllu", undefined, tasks.text, [{ text: "Vámonos al mar", origin: "a.conllu:1" }]],
    [
      "a.conll",
      { tokens: 0, tags: 2 },
      tasks.tags,
      [
        { tokens: ["EU", "rejects"], tags: ["B-ORG", "O"], origin: "a.conll:3" },
        { tokens: ["Peter"], tags: ["B-PER"], origin: "a.conll:6" },
      ],
    ],
  ])("%s gives its rows with their lines", async (name, columns, layouts, rows) => {
    expect(await read(name, columns, layouts)).toEqual(rows);
  });

  it("may be Parquet", async () => {
    const file = join(withFiles({}), "a.parquet");
    writeFileSync(file, parquet("text", ["one", "zwölf"]));
    expect(await all(file, { layouts: tasks.text })).toEqual([
      { text: "one", origin: "a.parquet, row 0" },
      { text: "zwölf", origin: "a.parquet, row 1" },
    ]);
  });

  it("may be packed", async () => {
    const file = join(withFiles({}), "a.jsonl.gz");
    writeFileSync(file, gzipSync(files["a.jsonl"]));
    expect(await all(file, { layouts: tasks.text })).toHaveLength(2);
  });

  it("may be several, in order, each with its own line numbers", async () => {
    const folder = withFiles(files);
    const rows = await all([join(folder, "a.tsv"), join(folder, "a.jsonl")], { layouts: tasks.text });
    expect(rows.map(({ text, origin }) => [text, origin])).toEqual([
      ['say "hi', "a.tsv:2"],
      ["one", "a.jsonl:1"],
      ["two", "a.jsonl:3"],
    ]);
  });

  it("hands on long running text in stretches that end where a line does", async () => {
    const line = `${"long ".repeat(100)}\n`;
    const folder = withFiles({ "long.txt": line.repeat(6000) });
    const rows = await all(join(folder, "long.txt"), { layouts: tasks.text });
    expect(rows.map((row) => row.running)).toEqual(["first", "next", "next"]);
    expect(rows.every((row) => row.text!.endsWith("\n"))).toBe(true);
    expect(rows.map((row) => row.text).join("")).toBe(line.repeat(6000));
    expect(rows[1]?.origin).toBe(`long.txt:${rows[0]!.text!.length / line.length + 1}`);
  });
});

describe("broken data files", () => {
  const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
  it.each<[string, string, string | Uint8Array, RegExp]>([
    ["a broken line", "b.jsonl", '{"text":"one"}\n{"text":\n', /b\.jsonl:2: not JSON: /],
    ["a line that is no object", "b.jsonl", "[1]\n", /b\.jsonl:1: a row is an object of columns/],
    ["a column without a text", "b.jsonl", '{"text":null}\n', /b\.jsonl:1: column "text" holds null, not a text\.$/],
    [
      "a row without a column that others have",
      "b.jsonl",
      '{"text":"one"}\n{}\n',
      /b\.jsonl:2: the row has no column "text", which the first row of the file has\. Add it, or drop the row\.$/,
    ],
    ["a row with too few columns", "b.csv", "text,n\na,1\nb\n", /b\.csv:3: .*columns length is 2, got 1/],
    ["a quote that does not end", "b.csv", 'text\n"a\nb\n', /b\.csv:\d: Quote Not Closed/],
    ["two columns of one name", "b.csv", "text,text\na,b\n", /b\.csv:1: two columns are called "text"\.$/],
    ["JSON that is no list", "b.json", '{"text":"one"}', /b\.json: a JSON data file is a list of objects/],
    ["a list that breaks off", "b.json", '[{"text":"one"},\n', /b\.json:2: not JSON: the list does not end\.$/],
    ["a list with an error in it", "b.json", '[{"text":"one"},\n{"text":}]', /b\.json:2: not JSON: /],
    ["no rows", "b.csv", "text\n", /b\.csv has no rows\.$/],
    ["no rows in a list", "b.json", "[]", /b\.json has no rows\.$/],
    ["no bytes", "b.jsonl", "", /b\.jsonl has no rows\.$/],
    ["an unknown type", "b.doc", "x", /b\.doc is of no type that can be read: \.jsonl .*, or a folder of images/],
    ["bytes that are no UTF-8", "b.txt", bytes(0x61, 0xff, 0x62), /b\.txt is not UTF-8 text\.$/],
    ["UTF-16", "b.csv", bytes(0xff, 0xfe, 0x61, 0), /b\.csv is not UTF-8 text\.$/],
    ["what only claims to be packed", "b.txt.gz", "plain", /b\.txt\.gz cannot be unpacked/],
    [
      "what only claims to be Parquet",
      "b.parquet",
      "not at all, but long enough",
      /b\.parquet cannot be read as Parquet/,
    ],
    ["a line without end", "b.jsonl", "x".repeat(2 ** 24 + 1), /b\.jsonl:1: the line is longer than 16 million/],
    ["a word with too few columns", "b.conllu", "1\tone\n", /b\.conllu:1: a word has 10 columns/],
  ])("are refused for %s", async (_, name, content, message) => {
    const file = join(withFiles({}), name);
    writeFileSync(file, content);
    const rows = all(file, { columns: { text: "text" }, layouts: tasks.text });
    await expect(rows).rejects.toThrow(message);
    await expect(rows).rejects.toBeInstanceOf(UsageError);
  });

  it("are refused where there is none", async () => {
    await expect(read("nowhere.csv", { text: "text" })).rejects.toThrow(/there is no data file .*nowhere\.csv\.$/);
  });
});

describe("columns", () => {
  it("are looked up by the names of the parts, the fullest layout first", async () => {
    const folder = withFiles({ "a.csv": "pair,text,label\nb,a,1\n" });
    expect(await all(join(folder, "a.csv"), { layouts: tasks.pairs })).toEqual([
      { text: "a", pair: "b", label: "1", origin: "a.csv:2" },
    ]);
  });

  it("must be said where names allow for several layouts", async () => {
    const folder = withFiles({ "a.csv": "text,prompt,completion\na,b,c\n" });
    await expect(all(join(folder, "a.csv"), { layouts: tasks.text })).rejects.toThrow(
      /a\.csv has columns for text, and for prompt and completion\. Say which are meant with data\.columns\.$/,
    );
  });

  it("are listed where none is called like a part", async () => {
    const folder = withFiles({ "a.csv": "story,a very long text that stands where a header should be\na,b\n" });
    await expect(all(join(folder, "a.csv"), { layouts: tasks.text })).rejects.toThrow(
      /a\.csv has the columns "story", "a very long text that stands whe…"; none is called like a part of: text; prompt and completion; messages\./,
    );
  });

  it("are listed with the nearest name where one is missing", async () => {
    await expect(read("a.tsv", { text: "txt" })).rejects.toThrow(
      'there is no column "txt". Did you mean "text"? Columns: text, label. Say which one it is with data.columns.',
    );
  });

  it("may hold numbers as labels, as JSON and Parquet do", async () => {
    const folder = withFiles({ "a.jsonl": '{"text":"a","label":3}\n' });
    expect((await all(join(folder, "a.jsonl"), { layouts: tasks.pairs }))[0]?.label).toBe(3);
  });
});
