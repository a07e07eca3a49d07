/** @file `graft inspect --tokens`: rows as a model gets them, token by token, and what of them is learnt. */
import type { TextTokenizer } from "@graftml/models";
import { IGNORE } from "@graftml/tensor";
import type { Example } from "@graftml/trainer";
import { paint } from "../io.ts";

/** A row's tokens: those that are learnt in colour, or in brackets where there is no colour. */
export function showTokens({ ids, labels, origin }: Example, tokenizer: TextTokenizer | null): string {
  const piece = (id: number): string =>
    JSON.stringify(tokenizer?.decode([id], { special: true }) ?? String(id)).slice(1, -1) || "·";
  const learns = (i: number): boolean => (labels[i] ?? IGNORE) !== IGNORE;
  const plain = paint("cyan", "x", process.stdout) === "x";
  const shown = ids.map((id, i) => {
    const text = paint(learns(i) ? "cyan" : "dim", piece(id), process.stdout);
    if (!plain || !learns(i)) return text;
    return `${learns(i - 1) ? "" : "⟦"}${text}${learns(i + 1) ? "" : "⟧"}`;
  });
  const learnt = ids.filter((_, i) => learns(i)).length;
  return `${origin ?? "row"}: ${ids.length} tokens, ${learnt} learnt (${plain ? "in brackets" : "in colour"})\n${shown.join(paint("dim", "|", process.stdout))}`;
}
