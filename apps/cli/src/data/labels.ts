/** @file The classes of a run: told by it, by the model, or found in its training data. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { nearest } from "@graftml/peft";
import { each, multiLabel, type Rows } from "@graftml/trainer";
import { parse } from "yaml";
import { UsageError } from "../errors.ts";
import { names } from "../outputs.ts";
import type { Run } from "../schema.ts";
import type { Session } from "../session.ts";
import type { Records } from "./records.ts";
import type { Row } from "./row.ts";

/** The one label of a task whose labels are scores. */
const SCORE = "score";

/** Different labels that are looked at: more are no classes. */
export const MOST_LABELS = 2 ** 16;

/** The classes or the score of a text, or the class of every word. */
export const valuesOf = ({ label, tags }: Row): readonly (string | number)[] =>
  tags ?? (label === undefined ? [] : [label].flat());

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

/** What a run wrote down of its classes in its folder. */
export function classesInRun(out: string): Pick<Run["data"], "labels" | "multi_label"> {
  const file = join(out, names.run);
  if (!existsSync(file)) return {};
  const { labels, multi_label } = (parse(readFileSync(file, "utf8")) as Run).data; // our own file
  return { ...(labels && { labels }), ...(multi_label !== undefined && { multi_label }) };
}

/** What is known of the labels of training data. */
export type GivenLabels = Pick<Records, "labels" | "names" | "several">;

/**
 * Classes in the order of their numbers; one alone is a score, unless a text may have several. Undefined where rows have none.
 *
 * Those that the model in the folder names; else those that the data set's author does; else all that are in the data, in order: by number where all are numbers. Numbers
 * that are not whole are scores.
 * @throws {UsageError} if the data hold one class only, or more than can be classes.
 */
export function findLabels(folder: string, { labels, names, several }: GivenLabels): readonly string[] | undefined {
  if (labels.size === 0) return undefined;
  const told = labelsInModel(folder);
  if (told !== undefined) return told;
  const values = [...labels];
  if (names !== undefined && values.every((value) => names.includes(String(value)))) return names;
  const numbers = values.map((value) => (value === "" ? NaN : Number(value)));
  const counted = numbers.every((n) => !Number.isNaN(n));
  if (counted && !several && values.some((value) => !/^-?\d+$/.test(String(value)))) return [SCORE];
  const found = [...new Set(values.map(String))];
  if (values.length > MOST_LABELS)
    throw new UsageError(
      `data.train has more than ${MOST_LABELS} different labels: these are no classes. Check which column is which with data.columns.`,
    );
  if (found.length === 1 && !several)
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
  if (Array.isArray(row.label))
    throw new UsageError(`${row.origin}: the label is a list; other rows have one label. Say data.multi_label: true.`);
  return valuesOf(row).map((value) => {
    if (labels.length === 1) {
      const score = value === "" ? NaN : Number(value);
      if (Number.isFinite(score)) return score;
      throw new UsageError(`${row.origin}: the score is ${JSON.stringify(value)}; it must be a number.`);
    }
    return classOf(value, labels, row.origin);
  });
}

/** @throws {UsageError} for the first label of rows that is none of a session's classes. */
export function checkLabels(rows: Rows<Row>, { run, loaded }: Session): void {
  const { labels } = run.data;
  const read = multiLabel(loaded.model.info) ? hasEach : numbersOf;
  if (labels !== undefined) for (const row of each(rows)) read(row, labels);
}

/**
 * A 1 for each class that a row has, and a 0 for each other.
 * @throws {UsageError} for a label that is none of them, or that is there twice.
 */
export function hasEach(row: Row, labels: readonly string[]): readonly number[] {
  const found = valuesOf(row).map((value) => classOf(value, labels, row.origin));
  const twice = found.find((number, i) => found.indexOf(number) < i);
  if (twice !== undefined)
    throw new UsageError(
      `${row.origin}: the label "${labels[twice]}" is there twice. A list names the classes that a text has, each once; zeros and ones for all classes are no names.`,
    );
  return labels.map((_, number) => Number(found.includes(number)));
}

function classOf(value: string | number, labels: readonly string[], origin: string): number {
  const number = labels.indexOf(String(value));
  if (number >= 0) return number;
  const near = nearest(String(value), labels);
  throw new UsageError(
    `${origin}: the label ${JSON.stringify(value)} is none of ${labels.join(", ")}.${near === undefined ? "" : ` Did you mean "${near}"?`} Name the classes with data.labels.`,
  );
}
