/** @file Figures of what a model writes, by the names that run files use. */
import { bleu } from "./bleu.ts";
import { rouge1, rouge2, rougeL } from "./rouge.ts";

/** A figure of texts, each with the references of which any may be met. */
export type TextMetric = (texts: readonly string[], references: readonly (readonly string[])[]) => number;

/** Share of texts that are one of their references, spaces around them aside. */
export const exactMatch: TextMetric = (texts, references) =>
  texts.filter((text, i) => (references[i] ?? []).some((reference) => reference.trim() === text.trim())).length /
  texts.length;

/** The figures that need texts to be written. */
export const textMetrics: Readonly<Record<string, TextMetric>> = {
  bleu,
  rouge1,
  rouge2,
  rougeL,
  exact_match: exactMatch,
};
