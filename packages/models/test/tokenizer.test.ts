import { StateError } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { textTokenizer } from "../src/index.ts";

const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** Words, a start token from the template, and padding and truncation that must not act. */
const json = {
  version: "1.0",
  truncation: { direction: "Right", max_length: 2, strategy: "LongestFirst", stride: 0 },
  padding: {
    strategy: { Fixed: 12 },
    direction: "Right",
    pad_to_multiple_of: null,
    pad_id: 2,
    pad_type_id: 0,
    pad_token: "<pad>",
  },
  added_tokens: [special(0, "<s>"), special(1, "</s>"), special(2, "<pad>")],
  normalizer: null,
  pre_tokenizer: { type: "WhitespaceSplit" },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: false },
  model: {
    type: "WordLevel",
    vocab: { "<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, once: 4, upon: 5, "!": 6 },
    unk_token: "<unk>",
  },
};
const config = { bos_token: "<s>", eos_token: { content: "</s>" }, unk_token: "<unk>" };

describe("textTokenizer", () => {
  const tokenizer = textTokenizer(json, config);

  it("adds what the template says, unless told otherwise, and neither pads nor cuts", () => {
    expect(tokenizer.encode("once upon once")).toEqual([0, 4, 5, 4]);
    expect(tokenizer.encode("once upon once", { special: false })).toEqual([4, 5, 4]);
  });

  it("decodes without special tokens, unless told otherwise", () => {
    expect(tokenizer.decode([0, 4, 5, 1])).toBe("once upon");
    expect(tokenizer.decode([0, 4, 1], { special: true })).toBe("<s> once </s>");
    expect(tokenizer.decode([])).toBe("");
  });

  it("cleans up spaces only where the configuration says so", () => {
    expect(tokenizer.decode([4, 6])).toBe("once !");
    expect(textTokenizer(json, { ...config, clean_up_tokenization_spaces: true }).decode([4, 6])).toBe("once!");
  });

  it("knows the tokens that the configuration names", () => {
    expect([tokenizer.bos, tokenizer.eos, tokenizer.pad]).toEqual([0, 1, null]);
    expect([tokenizer.idOf("upon"), tokenizer.idOf("gone")]).toEqual([5, undefined]);
  });

  it("refuses a file that is no tokenizer", () => {
    const refused = (): unknown => textTokenizer({ model: { type: "Mystery" } }, {}, "here.json");
    expect(refused).toThrow(StateError);
    expect(refused).toThrow(/here\.json is no tokenizer that can be read/);
  });
});
