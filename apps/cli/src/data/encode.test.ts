import { buildModel, textTokenizer } from "@graftml/models";
import { describe, expect, it } from "vitest";
import { config, tokenizer } from "../../test/helpers.ts";
import type { Run } from "../schema.ts";
import { encodeRows } from "./encode.ts";
import { gather } from "./records.ts";
import type { Row } from "./row.ts";

const model = buildModel(config);
const tokens = textTokenizer(tokenizer, { bos_token: "<s>", eos_token: "</s>" });
const loaded = { model, tokenizer: tokens, eos: [2] } as unknown as Parameters<typeof encodeRows>[2]; // weights are not looked at
const run = { model: "m", task: "causal-lm", data: { max_length: 4 } } as Run; // all that is looked at

/** Texts of examples, with where they come from. */
async function encoded(rows: readonly Row[]): Promise<readonly string[]> {
  const examples = encodeRows(await gather(rows), run, loaded, { told: false });
  return Array.from({ length: examples.length }, (_, i) => {
    const { ids = [], origin } = examples.at(i) ?? {};
    return `${tokens.decode(ids, { special: true })} @ ${origin}`;
  });
}

describe("running text", () => {
  it("is cut into full examples over the ends of its stretches, and a rest", async () => {
    const rows: readonly Row[] = [
      { text: "abcdef", origin: "a.txt", running: "first" },
      { text: "ghijkl", origin: "a.txt:2", running: "next" },
      { text: "xyz", origin: "b.txt", running: "first" },
    ];
    expect(await encoded(rows)).toEqual([
      "abcd @ a.txt, tokens 0 on",
      "efgh @ a.txt, tokens 4 on",
      "ijkl @ a.txt, tokens 8 on",
      "xyz @ b.txt, tokens 0 on",
    ]);
  });

  it("leaves out a rest of one token", async () => {
    expect(await encoded([{ text: "abcde", origin: "a.txt", running: "first" }])).toEqual([
      "abcd @ a.txt, tokens 0 on",
    ]);
  });

  it("may stand among rows", async () => {
    const rows: readonly Row[] = [
      { text: "ab", origin: "a.jsonl:1" },
      { text: "cdefg", origin: "a.txt", running: "first" },
      { text: "h", origin: "b.jsonl:1" },
    ];
    expect(await encoded(rows)).toEqual(["<s>ab</s> @ a.jsonl:1", "cdef @ a.txt, tokens 0 on", "<s>h</s> @ b.jsonl:1"]);
  });
});
