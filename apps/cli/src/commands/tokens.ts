/** @file `graft inspect --tokens`: rows as a model gets them, token by token, and what of them is learnt. */
import type { TextTokenizer } from "@graftml/models";
import { IGNORE } from "@graftml/tensor";
import type { Example } from "@graftml/trainer";
import { paint } from "../io.ts";
import type { Run } from "../schema.ts";

/**
 * A row's tokens: those that are learnt in colour, or in brackets where there is no colour. What is learnt of the row as a
 * whole, its class, score or target, stands below.
 * @param classes their names, where the task has some; one alone stands for a score. And whether a text may have several.
 */
export function showTokens(
  { ids, labels, origin }: Example,
  tokenizer: TextTokenizer | null,
  { labels: names = [], multi_label: several = false }: Pick<Run["data"], "labels" | "multi_label"> = {},
): string {
  const piece = (id: number): string =>
    JSON.stringify(tokenizer?.decode([id], { special: true }) ?? String(id)).slice(1, -1) || "·";
  const byToken = labels.length === ids.length && !several;
  const learns = (i: number): boolean => byToken && (labels[i] ?? IGNORE) !== IGNORE;
  const plain = paint("cyan", "x", process.stdout) === "x";
  const shown = ids.map((id, i) => {
    const text = paint(learns(i) ? "cyan" : "dim", piece(id), process.stdout);
    if (!plain || !learns(i)) return text;
    return `${learns(i - 1) ? "" : "⟦"}${text}${learns(i + 1) ? "" : "⟧"}`;
  });
  const learnt = ids.filter((_, i) => learns(i)).length;
  const told = byToken ? `, ${learnt} learnt (${plain ? "in brackets" : "in colour"})` : "";
  const joined = (pieces: readonly string[]): string => pieces.join(paint("dim", "|", process.stdout));
  const whole = several
    ? names.filter((_, i) => labels[i] === 1)
    : names.length === 0
      ? labels.map(piece)
      : labels.map((label) => (names.length > 1 ? names[label] : undefined) ?? String(label));
  return [
    `${origin ?? "row"}: ${ids.length} tokens${told}`,
    joined(shown),
    ...(byToken || labels.length === 0
      ? []
      : [`→ ${joined(whole.map((text) => paint("cyan", text, process.stdout)))}`]),
  ].join("\n");
}
