/** @file The rows of a split: put aside as they are read, with what has to be known of all of them before the first step. */
import type { Rows } from "@graftml/trainer";
import { MOST_LABELS, valuesOf } from "./labels.ts";
import type { Row } from "./row.ts";
import { openSpool } from "./spool.ts";

/** Rows of data files, by number. */
export interface Records extends Rows<Row> {
  /** The labels and tags that they have, each once. */
  readonly labels: ReadonlySet<string | number>;
  /** Names of all classes in the order of their numbers, where the data set's author gives them. */
  readonly names: readonly string[] | undefined;
  /** Whether a row has a list of labels, so that it may have several. */
  readonly several: boolean;
  /** Where the first stretch of running text stands, if there is one. */
  readonly running: string | undefined;
}

/** Puts rows aside, the first so many of them. @param options.names of their classes, if somebody gives them. */
export async function gather(
  rows: AsyncIterable<Row> | Iterable<Row>,
  {
    most = Infinity,
    names,
  }: { readonly most?: number | undefined; readonly names?: readonly string[] | undefined } = {},
): Promise<Records> {
  const spool = openSpool<Row>();
  const labels = new Set<string | number>();
  let running: string | undefined;
  let several = false;
  for await (const row of rows) {
    spool.add(row);
    for (const value of valuesOf(row)) if (labels.size <= MOST_LABELS) labels.add(value);
    several ||= Array.isArray(row.label);
    if (row.running !== undefined) running ??= row.origin;
    if (spool.length >= most) break;
  }
  return Object.assign(spool, { labels, names, several, running });
}
