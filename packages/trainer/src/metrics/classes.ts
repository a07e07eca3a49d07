/** @file How well classes are told apart. @see scikit-learn `accuracy_score`, `f1_score`, `matthews_corrcoef` */
import type { Figures } from "../task.ts";

/** The class with the highest score, the first of equals. */
export function likeliest(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if ((scores[i] ?? -Infinity) > (scores[best] ?? -Infinity)) best = i;
  return best;
}

/** Share of classes that were found. */
export const accuracy = (wanted: readonly number[], found: readonly number[]): number =>
  wanted.filter((label, i) => label === found[i]).length / wanted.length;

/** 2 · precision · recall / (precision + recall) of one class; 0 where it was neither wanted nor found. */
export function f1(wanted: readonly number[], found: readonly number[], of: number): number {
  const both = wanted.filter((label, i) => label === of && found[i] === of).length;
  const either = wanted.filter((label) => label === of).length + found.filter((label) => label === of).length;
  return either === 0 ? 0 : (2 * both) / either;
}

/** The mean F1 of all classes that were wanted or found. */
export function macroF1(wanted: readonly number[], found: readonly number[]): number {
  const classes = [...new Set([...wanted, ...found])];
  return classes.reduce((sum, of) => sum + f1(wanted, found, of), 0) / classes.length;
}

/** Correlation of what is wanted with what was found, of any number of classes; 0 where either is always the same. @see Gorodkin 2004 */
export function matthews(wanted: readonly number[], found: readonly number[]): number {
  const n = wanted.length;
  const counts = (labels: readonly number[]): ReadonlyMap<number, number> => {
    const seen = new Map<number, number>();
    for (const label of labels) seen.set(label, (seen.get(label) ?? 0) + 1);
    return seen;
  };
  const [a, b] = [counts(wanted), counts(found)];
  const products = (x: typeof a, y: typeof a): number => [...x].reduce((sum, [of, k]) => sum + k * (y.get(of) ?? 0), 0);
  const covariance = accuracy(wanted, found) * n * n - products(a, b);
  const spread = Math.sqrt((n * n - products(a, a)) * (n * n - products(b, b)));
  return spread === 0 ? 0 : covariance / spread;
}

/**
 * What is reported where a row may have several classes, each wanted or found (1) or not (0): the share of rows of which all
 * are right, F1 over all of them, and the mean of the classes' F1.
 */
export function severalFigures(wanted: readonly (readonly number[])[], found: readonly (readonly number[])[]): Figures {
  const exact = wanted.map((row, i) => Number(row.every((label, c) => label === found[i]?.[c])));
  const column = (rows: readonly (readonly number[])[], c: number): readonly number[] => rows.map((row) => row[c] ?? 0);
  const each = (wanted[0] ?? []).map((_, c) => f1(column(wanted, c), column(found, c), 1));
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  return { accuracy: mean(exact), micro_f1: f1(wanted.flat(), found.flat(), 1), macro_f1: mean(each) };
}

/** What is reported of classes: F1 is of class 1 where there are two, else the mean over classes. */
export const classFigures = (wanted: readonly number[], found: readonly number[], classes: number): Figures => ({
  accuracy: accuracy(wanted, found),
  ...(classes === 2 ? { f1: f1(wanted, found, 1) } : { macro_f1: macroF1(wanted, found) }),
  matthews: matthews(wanted, found),
});
