import { buildModel, type TextTokenizer } from "@graftml/models";
import { describe, expect, it } from "vitest";
import type { Session } from "./session.ts";
import { promptOf } from "./writing.ts";

/** A tokenizer of letters, with end token 1, which its template puts behind a text or not. */
const tokenizerThat = (closes: boolean): TextTokenizer => ({
  encode: (text) => [...Buffer.from(text), ...(closes ? [1] : [])],
  around: () => ({ ids: [], types: [], spans: [] }),
  decode: () => "",
  idOf: () => undefined,
  bos: null,
  eos: 1,
  pad: null,
  mask: null,
  special: new Set(),
  chat: null,
});
const decoder = buildModel({ model_type: "gpt2", vocab_size: 128, n_positions: 8, n_embd: 4, n_layer: 1, n_head: 1 });
const loaded = (closes: boolean, decoderStart?: number): Session["loaded"] => {
  const info = decoderStart === undefined ? decoder.info : { ...decoder.info, decoderStart };
  return { model: { ...decoder, info }, tokenizer: tokenizerThat(closes) } as Session["loaded"]; // all that is looked at
};

describe("promptOf", () => {
  it.each([true, false])("leaves a text open that is to be written on (template closes it: %s)", (closes) => {
    expect(promptOf("ab", loaded(closes)).ids).toEqual([97, 98]);
  });

  it.each([true, false])("closes a text that an encoder reads, once (template closes it: %s)", (closes) => {
    expect(promptOf("ab", loaded(closes, 0)).ids).toEqual([97, 98, 1]);
  });
});
