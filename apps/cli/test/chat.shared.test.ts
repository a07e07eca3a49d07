import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ChatTemplate, textTokenizer, type Turn } from "@graftml/models";
import type { JsonObject } from "@graftml/peft";
import { encodeSpans } from "@graftml/trainer";
import { describe, expect, it } from "vitest";
import { firstRows } from "../src/data/read.ts";

const SHARED = join(import.meta.dirname, "../../../../shared");

interface Case {
  readonly name: string;
  readonly plain: string;
  readonly marked: string;
  readonly chats: readonly {
    readonly messages: readonly Turn[];
    readonly text: string;
    readonly prompt: string;
    readonly ids: readonly number[];
    readonly learnt: readonly number[];
  }[];
}

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "golden/chat.json"), "utf8")) as {
  readonly tokens: readonly string[];
  readonly cases: readonly Case[];
};

const vocabulary = JSON.parse(readFileSync(join(SHARED, "models/tokenizers/gpt2/tokenizer.json"), "utf8")) as {
  readonly added_tokens: readonly JsonObject[];
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
} & JsonObject;
const first = Object.keys(vocabulary.model.vocab).length;
const flags = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
const json = {
  ...vocabulary,
  added_tokens: [
    ...vocabulary.added_tokens,
    ...golden.tokens.map((content, i) => ({ id: first + i, content, ...flags })),
  ],
};
const names = { bos_token: "<s>", eos_token: "</s>" };
const variants = golden.cases.flatMap((c) => [
  { ...c, kind: "as models carry it", source: c.plain },
  { ...c, kind: "with generation tags", source: c.marked },
]);

describe.each(variants)("the chat template $name $kind", ({ source, chats }) => {
  const tokenizer = textTokenizer(json, { ...names, chat_template: source });
  const chat = tokenizer.chat!;
  const encode = (text: string): readonly number[] => tokenizer.encode(text, { special: false });
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { special: true });

  it("writes what transformers writes", () => {
    for (const { messages, text, prompt } of chats) {
      const written = chat.render(messages);
      expect(written.ended ? written.text : `${written.text}\n`).toBe(text);
      expect(chat.prompt(messages.slice(0, 1))).toBe(prompt);
    }
  });

  it("learns the tokens that transformers masks as the assistant's", () => {
    for (const { messages, ids, learnt } of chats) {
      const { text, spans, ended } = chat.render(messages);
      const end = ended ? null : tokenizer.eos;
      const example = encodeSpans(text, spans, { encode, decode, end, maxLength: 1000 });
      // Where a turn has no end of its own, the end token stands in the place of the blanks behind it.
      const written = ended ? ids : [...ids.slice(0, Math.max(...learnt) + 1), tokenizer.eos];
      expect(example.ids).toEqual(written);
      const mine = example.labels.flatMap((label, i) => (label >= 0 ? [i] : []));
      expect(mine).toEqual(ended ? learnt : [...learnt, written.length - 1]);
    }
  });
});

describe.each(golden.cases)("the chat template $name without generation tags", ({ plain, marked }) => {
  it.each([
    ["kto_en_demo.json", "messages", 300],
    ["fastchat_dummy_conversation.json", "conversations", 500],
  ])("learns of the chats in %s what it learns with them", async (file, column, count) => {
    const [found, said] = [plain, marked].map(
      (source) => textTokenizer(json, { ...names, chat_template: source }).chat!,
    );
    const wanted = { columns: { messages: column }, layouts: [["messages"]] } as const;
    const rows = await firstRows(join(SHARED, "data/instruct", file), wanted, Infinity);
    expect(rows).toHaveLength(count);
    for (const { messages = [] } of rows) expect(learntBy(found!, messages)).toEqual(learntBy(said!, messages));
  });
});

/** What a template leaves to be learnt, without the blanks at its ends. */
function learntBy(chat: ChatTemplate, messages: readonly Turn[]): readonly string[] {
  const { text, spans } = chat.render(messages);
  return spans.map(([start, end]) => text.slice(start, end).trimEnd());
}
