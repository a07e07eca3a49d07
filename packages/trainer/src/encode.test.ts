import { describe, expect, it } from "vitest";
import { encodePair, encodeSpans, encodeText } from "./encode.ts";

// One token a letter, but "bc" is a token of its own; 1 begins a text.
const encode = (text: string): number[] => [
  1,
  ...(text.match(/bc|./g) ?? []).map((t) => (t === "bc" ? 99 : t.charCodeAt(0))),
];
const code = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));
const options = { encode, end: 2, maxLength: 100 };

describe("encoding a text", () => {
  it("appends the end token where the template adds none", () => {
    expect(encodeText("xy", options).ids).toEqual([1, ...code("xy"), 2]);
    expect(encodeText("xy", { ...options, encode: (t) => [...encode(t), 2] }).ids).toEqual([1, ...code("xy"), 2]);
    expect(encodeText("xy", { ...options, end: null }).ids).toEqual([1, ...code("xy")]);
  });

  it("cuts at the end, the end token included", () => {
    expect(encodeText("wxyz", { ...options, maxLength: 4 }).ids).toEqual([1, ...code("wxy")]);
  });

  it("makes every token a label", () => {
    const { ids, labels } = encodeText("xy", options);
    expect(labels).toEqual(ids);
  });

  it("keeps where a text comes from", () => {
    expect(encodeText("xy", { ...options, origin: "line 3" }).origin).toBe("line 3");
  });
});

describe("encoding a prompt and its completion", () => {
  it("makes labels of the completion and the end token only", () => {
    const { ids, labels } = encodePair("xy", " z", options);
    expect(ids).toEqual([1, ...code("xy z"), 2]);
    expect(labels).toEqual([-100, -100, -100, ...code(" z"), 2]);
  });

  it("makes a label of a token that straddles the two", () => {
    const { ids, labels } = encodePair("ab", "cd", options);
    expect(ids).toEqual([1, ...code("a"), 99, ...code("d"), 2]);
    expect(labels).toEqual([-100, -100, 99, ...code("d"), 2]);
  });

  it("leaves the prompt its blanks where these are other tokens before further text", () => {
    // Two line ends are one token at the end of a text, and two before anything else.
    const blanks = (text: string): number[] =>
      (text.match(/\n\n$|[^]/g) ?? []).map((t) => (t === "\n\n" ? 98 : t.charCodeAt(0)));
    const decode = (ids: readonly number[]): string =>
      ids.map((id) => (id === 98 ? "\n\n" : String.fromCharCode(id))).join("");
    const { labels } = encodePair("a\n\n", "b", { ...options, encode: blanks, decode });
    expect(labels).toEqual([-100, -100, -100, ...code("b"), 2]);
  });

  it("is not misled by an end token that the template puts after the prompt", () => {
    const closed = { ...options, encode: (t: string) => [...encode(t), 2] };
    expect(encodePair("x", "y", closed).labels).toEqual([-100, -100, ...code("y"), 2]);
  });
});

describe("encoding stretches of a text", () => {
  it("makes labels of the stretches only", () => {
    const spans = [
      [1, 2],
      [4, 5],
    ] as const;
    const { ids, labels } = encodeSpans("xyzwvu", spans, { ...options, end: null });
    expect(ids).toEqual([1, ...code("xyzwvu")]);
    expect(labels).toEqual([-100, -100, ...code("y"), -100, -100, ...code("v"), -100]);
  });

  it("takes the end token along where a stretch ends with the text", () => {
    expect(encodeSpans("xy", [[1, 2]], options).labels).toEqual([-100, -100, ...code("y"), 2]);
    expect(encodeSpans("xy", [[0, 1]], options).labels).toEqual([-100, ...code("x"), -100, -100]);
  });

  it("leaves out a token that reaches behind a stretch", () => {
    expect(encodeSpans("abcd", [[0, 2]], options).labels).toEqual([-100, ...code("a"), -100, -100, -100]);
  });
});
