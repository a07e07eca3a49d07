import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../src/index.ts";
import { dataFile, modelFolder } from "./shared.ts";

interface Source {
  readonly file: string;
  readonly pattern: string;
  readonly count: number;
  /** Whether what matches is a JSON string. */
  readonly json: boolean;
}

const { sources, cases } = JSON.parse(readFileSync(join(import.meta.dirname, "golden/tokens.json"), "utf8")) as {
  readonly sources: readonly Source[];
  readonly cases: readonly { readonly folder: string; readonly digests: readonly (readonly [string, string])[] }[];
};

function linesOf({ file, pattern, count, json }: Source): readonly string[] {
  const expression = new RegExp(pattern, "u");
  const lines = readFileSync(dataFile(file), "utf8").split("\n");
  const found = lines.flatMap((line) => expression.exec(line.replace(/\r$/, ""))?.[1] ?? []).slice(0, count);
  return json ? found.map((line) => JSON.parse(line) as string) : found;
}

const digest = (texts: readonly string[]): string =>
  createHash("sha256").update(texts.join("\n")).digest("hex").slice(0, 16);

describe.each(cases)("the tokenizer of $folder", ({ folder, digests }) => {
  it.each(sources.map((source, i) => ({ source, file: source.file, digests: digests[i]! })))(
    "gives transformers' ids and text for $file",
    async ({ source, digests: [ids, text] }) => {
      const tokenizer = (await loadTokenizer(modelFolder(folder)))!;
      const rows = linesOf(source).map((line) => tokenizer.encode(line));
      expect(digest(rows.map((row) => row.join(" ")))).toBe(ids);
      // A byte-order mark inside of a text is dropped where a tokenizer falls back to bytes.
      expect(digest(rows.map((row) => tokenizer.decode(row).replaceAll("\uFEFF", "")))).toBe(text);
    },
  );
});
