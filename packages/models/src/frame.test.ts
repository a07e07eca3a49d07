import { describe, expect, it } from "vitest";
import { templateOf } from "./frame.ts";

/** A token a letter; "[1] a [2]" around a text, "[1] a [2] b [3]" around a pair. */
const plain = (text: string): readonly number[] => Array.from(text, (c) => c.charCodeAt(0));
const around = templateOf((text, pair) => {
  const first = [1, ...plain(text), 2];
  const second = pair === null ? [] : [...plain(pair), 3];
  return { ids: [...first, ...second], types: [...first.map(() => 0), ...second.map(() => 1)] };
}, plain);
const words = (...texts: readonly string[]): readonly (readonly number[])[] => texts.map(plain);

describe("the template around texts", () => {
  it("is that of the tokenizer, found by trying it", () => {
    expect(around(words("xy"), 9)).toEqual({ ids: [1, ...plain("xy"), 2], types: [0, 0, 0, 0], spans: [[1, 3]] });
    expect(around(words("xy", "z"), 9)).toEqual({
      ids: [1, ...plain("xy"), 2, ...plain("z"), 3],
      types: [0, 0, 0, 0, 1, 1],
      spans: [
        [1, 3],
        [4, 5],
      ],
    });
  });

  it("stays whole where a text is cut", () => {
    expect(around(words("vwxyz"), 4).ids).toEqual([1, ...plain("vw"), 2]);
    expect(around(words(""), 4).ids).toEqual([1, 2]);
  });

  it.each([
    { longest: 9, left: ["ab", "uvwx"] },
    { longest: 8, left: ["ab", "uvw"] },
    { longest: 7, left: ["ab", "uv"] },
    { longest: 6, left: ["a", "uv"] },
  ])("lets a pair be cut to $longest tokens, the longer text first", ({ longest, left: [a = "", b = ""] }) => {
    expect(around(words("ab", "uvwxyz"), longest).ids).toEqual([1, ...plain(a), 2, ...plain(b), 3]);
    const turned = around(words("uvwxyz", "ab"), longest).ids;
    expect(turned).toHaveLength(longest);
    expect(turned.filter((id) => plain("uvwxyz").includes(id))).toHaveLength(b.length);
  });
});
