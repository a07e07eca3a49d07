import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../src/index.ts";
import { modelFolder, referenceOf } from "./shared.ts";

describe("tokenizers of real models", () => {
  it.each(["stories260K", "TinyStories-656K", "babyllama-tok105", "babyllama-tok361"])(
    "gives the reference's ids (%s)",
    async (name) => {
      const { text, input_ids } = referenceOf(name);
      expect((await loadTokenizer(modelFolder(name)))!.encode(text!)).toEqual(input_ids);
    },
  );

  it("ignores padding and truncation that are stored in the file (all-MiniLM-L6-v2 pads to 128)", async () => {
    const reference = referenceOf("all-MiniLM-L6-v2") as unknown as { sentences: string[]; input_ids: number[][] };
    const tokenizer = (await loadTokenizer(modelFolder("all-MiniLM-L6-v2")))!;
    reference.sentences.forEach((sentence, i) =>
      expect(tokenizer.encode(sentence)).toEqual(reference.input_ids[i]!.filter((id) => id !== tokenizer.pad)),
    );
    expect(tokenizer.encode(Array.from({ length: 200 }, () => "word").join(" "))).toHaveLength(202);
  });

  it("knows the standard vocabularies", async () => {
    const known = { gpt2: [15496, 995], "bert-base-uncased": [101, 7592, 2088, 102], t5: [8774, 296, 1] };
    for (const [name, ids] of Object.entries(known)) {
      const folder = modelFolder(join("tokenizers", name));
      expect(existsSync(folder)).toBe(true);
      const text = name === "gpt2" || name === "t5" ? "Hello world" : "hello world";
      expect((await loadTokenizer(folder))!.encode(text)).toEqual(ids);
    }
  });

  it("frames pairs as transformers does, and cuts the longer text first", async () => {
    const { encode, around } = (await loadTokenizer(modelFolder("all-MiniLM-L6-v2")))!;
    const pair = (...texts: readonly string[]) => texts.map((text) => encode(text, { special: false }));
    const long = "a much longer second text which has to be cut somewhere in the middle";
    // tokenizer(first, second, truncation=True, max_length=12) of transformers 5.23
    expect(around(pair("short", long), 12)).toMatchObject({
      ids: [101, 2460, 102, 1037, 2172, 2936, 2117, 3793, 2029, 2038, 2000, 102],
      types: [0, 0, 0, ...Array.from({ length: 9 }, () => 1)],
    });
    expect(around(pair(long.replace("second", "first"), "short"), 12).ids).toEqual([
      101, 1037, 2172, 2936, 2034, 3793, 2029, 2038, 2000, 102, 2460, 102,
    ]);
  });

  it("leaves special tokens out unless told otherwise", async () => {
    const tokenizer = (await loadTokenizer(modelFolder("stories260K")))!;
    expect(tokenizer.encode("Once", { special: false })).toEqual(tokenizer.encode("Once").slice(1));
    expect(tokenizer.decode([1, 403, 407])).toBe("Once upon");
    expect(tokenizer.decode([1, 403, 407], { special: true })).toContain("<s>");
    expect([tokenizer.bos, tokenizer.eos, tokenizer.pad]).toEqual([1, 2, 0]);
  });
});
