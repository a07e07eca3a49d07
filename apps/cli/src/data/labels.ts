/** @file The classes of a run: told by it, by the model, or found in its training data. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { nearest } from "@graftml/peft";
import { parse } from "yaml";
import { UsageError } from "../errors.ts";
import { names } from "../outputs.ts";
import type { Run } from "../schema.ts";
import type { Row } from "./row.ts";

/** The one label of a task whose labels are scores. */
const SCORE = "score";

/** Different labels that are looked at: more are no classes. */
export const MOST_LABELS = 2 ** 16;

/** A class or score of a text, or the class of every word. */
export const valuesOf = ({ label, tags }: Row): readonly (string | number)[] =>
  tags ?? (label === undefined ? [] : [label]);

/** The names of the model's classes, unless they are transformers' placeholders. */
function labelsInModel(folder: string): readonly string[] | undefined {
  const file = join(folder, "config.json");
  if (!existsSync(file)) return undefined; // opening the model says what is wrong
  const { id2label } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly id2label?: Readonly<Record<string, string>>;
  };
  const found = Object.entries(id2label ?? {})
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, name]) => name);
  return found.every((name) => /^LABEL_\d+$/.test(name)) ? undefined : found;
}

/** Classes that a run wrote down in its folder. */
export function labelsInRun(out: string): readonly string[] | undefined {
  const file = join(out, names.run);
  return existsSync(file) ? (parse(readFileSync(file, "utf8")) as Run).data.labels : undefined; // our own file
}

/**
 * Classes in the order of their numbers; one alone is a score. Undefined where rows have none.
 *
 * Those that the model in the folder names; else all that are in the data, in order: by number where all are numbers. Numbers
 * that are not whole are scores.
 * @param given the labels that rows have.
 * @throws {UsageError} if the data hold one class only, or more than can be classes.
 */
export function findLabels(folder: string, given: ReadonlySet<string | number>): readonly string[] | undefined {
  if (given.size === 0) return undefined;
  const told = labelsInModel(folder);
  if (told !== undefined) return told;
  const values = [...given];
  const numbers = values.map((value) => (value === "" ? NaN : Number(value)));
  const counted = numbers.every((n) => !Number.isNaN(n));
  if (counted && values.some((value) => !/^-?\d+$/.test(String(value)))) return [SCORE];
  const found = [...new Set(values.map(String))];
  if (values.length > MOST_LABELS)
    throw new UsageError(
      `data.train has more than ${MOST_LABELS} different labels: these are no classes. Check which column is which with data.columns.`,
    );
  if (found.length === 1)
    throw new UsageError(
      `all rows of data.train have the label ${JSON.stringify(found[0])}: there is nothing to tell apart. Name the classes with data.labels, or check data.columns.`,
    );
  return found.toSorted((a, b) => (counted ? Number(a) - Number(b) : a < b ? -1 : 1));
}

/**
 * The number of each class of a row, or its score.
 * @throws {UsageError} for a label that is none of them.
 */
export function numbersOf(row: Row, labels: readonly string[]): readonly number[] {
  return valuesOf(row).map((value) => {
    if (labels.length === 1) {
      const score = value === "" ? NaN : Number(value);
      if (Number.isFinite(score)) return score;
      throw new UsageError(`${row.origin}: the score is ${JSON.stringify(value)}; it must be a number.`);
    }
    const number = labels.indexOf(String(value));
    if (number >= 0) return number;
    const near = nearest(String(value), labels);
    throw new UsageError(
      `${row.origin}: the label ${JSON.stringify(value)} is none of ${labels.join(", ")}.${near === undefined ? "" : ` Did you mean "${near}"?`} Name the classes with data.labels.`,
    );
  });
}
