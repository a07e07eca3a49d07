import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withFiles } from "../test/helpers.ts";
import { parquet } from "../test/parquet.ts";
import { type Columns, readRows, type TextRow } from "./data-files.ts";
import { UsageError } from "./errors.ts";

const files = {
  "a.jsonl": '{"text":"one"}\n\n{"text":"two","n":1}\n',
  "a.json": '[{"text":"one"},{"text":2}]',
  "a.csv": '\uFEFFid, text\n1,"a ""b"", c"\n2,"two\nlines"\n',
  "a.tsv": 'text\tlabel\nsay "hi\t1\n',
  "cola.tsv": "gj04\t1\t\tOur friends\nc-05\t0\t*\tThey drank\n",
  "pairs.jsonl": '{"q":"1+1=","a":"2"}\n',
  "a.txt": "running\n\ntext\n",
  "broken.jsonl": '{"text":"one"}\n{"text":\n',
  "list.jsonl": "[1]\n",
  "null.jsonl": '{"text":null}\n',
  "ragged.csv": "text,n\na,1\nb\n",
  "one.json": '{"text":"one"}',
  "empty.csv": "text\n",
  "a.doc": "x",
};
const read = (name: string, columns: Columns = { text: "text" }): Promise<readonly TextRow[]> =>
  readRows(join(withFiles(files), name), columns);
const tidy = (rows: readonly TextRow[]): readonly TextRow[] =>
  rows.map((row) => ({ ...row, origin: row.origin.replace(/^.*\//, "") }));

describe("data files", () => {
  it.each<[string, Columns, readonly TextRow[]]>([
    [
      "a.jsonl",
      { text: "text" },
      [
        { text: "one", origin: "a.jsonl:1" },
        { text: "two", origin: "a.jsonl:3" },
      ],
    ],
    [
      "a.json",
      { text: "text" },
      [
        { text: "one", origin: "a.json[0]" },
        { text: "2", origin: "a.json[1]" },
      ],
    ],
    [
      "a.csv",
      { text: "text" },
      [
        { text: 'a "b", c', origin: "a.csv:2" },
        { text: "two\nlines", origin: "a.csv:4" },
      ],
    ],
    ["a.tsv", { text: "text" }, [{ text: 'say "hi', origin: "a.tsv:2" }]],
    [
      "cola.tsv",
      { text: 3 },
      [
        { text: "Our friends", origin: "cola.tsv:1" },
        { text: "They drank", origin: "cola.tsv:2" },
      ],
    ],
    ["pairs.jsonl", { prompt: "q", completion: "a" }, [{ prompt: "1+1=", text: "2", origin: "pairs.jsonl:1" }]],
    ["a.txt", { text: "text" }, [{ text: "running\n\ntext\n", origin: "a.txt", running: true }]],
  ])("%s gives its rows with their lines", async (name, columns, rows) => {
    expect(tidy(await read(name, columns))).toEqual(rows);
  });

  it("may be Parquet", async () => {
    const folder = withFiles({});
    writeFileSync(join(folder, "a.parquet"), parquet("text", ["one", "two"]));
    expect(tidy(await readRows(join(folder, "a.parquet"), { text: "text" }))).toEqual([
      { text: "one", origin: "a.parquet, row 0" },
      { text: "two", origin: "a.parquet, row 1" },
    ]);
  });

  it("may be several, in order", async () => {
    const folder = withFiles(files);
    const rows = await readRows([join(folder, "a.tsv"), join(folder, "a.jsonl")], { text: "text" });
    expect(rows.map((row) => row.text)).toEqual(['say "hi', "one", "two"]);
  });

  it.each([
    ["a broken line", "broken.jsonl", /broken\.jsonl:2: not JSON: /],
    ["a row that is no object", "list.jsonl", /list\.jsonl:1: a row is an object of columns/],
    ["a column that holds no text", "null.jsonl", /null\.jsonl:1: column "text" holds null, not a text\.$/],
    ["a row with too few columns", "ragged.csv", /ragged\.csv:3: .*columns length is 2, got 1/],
    ["a JSON file that is no list", "one.json", /one\.json: a JSON data file is a list of objects/],
    ["no rows", "empty.csv", /empty\.csv has no rows\.$/],
    [
      "an unknown type",
      "a.doc",
      /a\.doc is of no type that can be read: \.jsonl \.json \.csv \.tsv \.parquet \.txt\.$/,
    ],
    ["no file", "nowhere.csv", /there is no data file .*nowhere\.csv\.$/],
    ["a file that only claims to be Parquet", "x.parquet", /x\.parquet cannot be read as Parquet: /],
  ])("are refused for %s", async (_, name, message) => {
    const folder = withFiles({ ...files, "x.parquet": "not at all, but long enough" });
    const rows = readRows(join(folder, name), { text: "text" });
    await expect(rows).rejects.toThrow(message);
    await expect(rows).rejects.toBeInstanceOf(UsageError);
  });

  it("name the columns there are where one is missing", async () => {
    await expect(read("a.tsv", { text: "txt" })).rejects.toThrow(
      'there is no column "txt". Did you mean "text"? Columns: text, label. Say which one it is with data.columns.',
    );
  });
});
