import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  accuracy,
  f1,
  macroF1,
  matthews,
  pearson,
  spanFigures,
  spearman,
  type TextMetric,
  textMetrics,
} from "../src/index.ts";
import { severalFigures } from "../src/metrics/classes.ts";

/** What the usual packages make of these sets. See scripts/golden/metrics.py. */
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "golden/metrics.json"), "utf8")) as {
  readonly classes: readonly (Record<"wanted" | "found", readonly number[]> & Record<string, number>)[];
  readonly several: readonly (Record<"wanted" | "found", readonly (readonly number[])[]> & Record<string, number>)[];
  readonly scores: readonly (Record<"wanted" | "found", readonly number[]> & Record<string, number>)[];
  readonly spans: readonly (Record<"wanted" | "found", readonly (readonly string[])[]> & Record<string, number>)[];
  readonly texts: readonly ({
    readonly found: readonly string[];
    readonly references: readonly (readonly string[])[];
  } & Record<string, number>)[];
};

describe("figures of classes", () => {
  it.each(golden.classes)("are those of scikit-learn (%#)", ({ wanted, found, ...theirs }) => {
    expect(accuracy(wanted, found)).toBeCloseTo(theirs["accuracy"]!, 12);
    expect(f1(wanted, found, 1)).toBeCloseTo(theirs["f1"]!, 12);
    expect(macroF1(wanted, found)).toBeCloseTo(theirs["macro_f1"]!, 12);
    expect(matthews(wanted, found)).toBeCloseTo(theirs["matthews"]!, 12);
  });
});

describe("figures of rows that may have several classes", () => {
  it.each(golden.several)("are those of scikit-learn (%#)", ({ wanted, found, ...theirs }) => {
    const ours = severalFigures(wanted, found);
    for (const name of ["accuracy", "micro_f1", "macro_f1"]) expect(ours[name]).toBeCloseTo(theirs[name]!, 12);
  });
});

describe("figures of scores", () => {
  it.each(golden.scores)("are those of scipy, with ties (%#)", ({ wanted, found, ...theirs }) => {
    expect(pearson(wanted, found)).toBeCloseTo(theirs["pearson"]!, 12);
    expect(spearman(wanted, found)).toBeCloseTo(theirs["spearman"]!, 12);
  });
});

describe("figures of spans", () => {
  it.each(golden.spans)(
    "are those of seqeval, also where a span begins with I (%#)",
    ({ wanted, found, ...theirs }) => {
      const { f1, precision, recall } = theirs;
      const ours = spanFigures(wanted, found);
      expect(ours.f1).toBeCloseTo(f1!, 12);
      expect(ours["precision"]).toBeCloseTo(precision!, 12);
      expect(ours["recall"]).toBeCloseTo(recall!, 12);
    },
  );
});

describe("figures of texts", () => {
  const named = (name: string): TextMetric => textMetrics[name]!;

  it.each(golden.texts)("are those of sacrebleu and rouge_score (%#)", ({ found, references, ...theirs }) => {
    expect(named("bleu")(found, references)).toBeCloseTo(theirs["bleu"]!, 10);
    for (const name of ["rouge1", "rouge2", "rougeL"])
      expect(named(name)(found, references)).toBeCloseTo(theirs[name]!, 12);
  });

  it("count a text as an exact match of any of its references, spaces around it aside", () => {
    const references = [["a", "b"], ["c"], ["d"]];
    expect(named("exact_match")(["b ", "C", "d"], references)).toBeCloseTo(2 / 3, 12);
  });
});
