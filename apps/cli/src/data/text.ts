/** @file Running text. */
import type { Reader } from "./row.ts";
import { textOf } from "./source.ts";

/** Characters that are handed on at once, up to the end of a line. */
const PIECE = 2 ** 20;

/** A whole file as one text, in stretches that end where a line does. */
export const readText: Reader = async function* (file) {
  let [held, line, running] = ["", 1, "first" as "first" | "next"];
  const stretch = (text: string) => {
    const origin = running === "first" ? file.shown : `${file.shown}:${line}`;
    return { values: { text }, origin, running };
  };
  for await (const piece of textOf(file)) {
    held += piece;
    const end = held.length < PIECE ? 0 : held.lastIndexOf("\n") + 1;
    if (end === 0) continue;
    const text = held.slice(0, end);
    yield stretch(text);
    [held, running] = [held.slice(end), "next"];
    line += text.split("\n").length - 1;
  }
  if (held !== "") yield stretch(held);
};
