/** @file Rows by number: a list, or rows that are made when a step first needs them. */

/** Rows by number. A list is one. */
export interface Rows<Row> {
  readonly length: number;
  at(number: number): Row | undefined;
  /** Only of rows that are not made yet. */
  readonly lazy?: {
    /** The numbers of rows among which the longest is to be expected; programs are compiled for these before the first step. */
    readonly longest: readonly number[];
    /** Tells the rows from those of other data. */
    readonly digest: string;
  };
}

/** What rows are made from. */
export interface LazyRows<Source, Row> {
  readonly sources: readonly Source[];
  readonly make: (source: Source) => Row;
  /** How long a row is going to be, roughly and cheaply: characters of its text. */
  readonly weight: (source: Source) => number;
  /** Tells the rows from those of other data, or from the same data made into rows in another way. */
  readonly digest: string;
}

/** Rows that are made before the first step, to find the longest. */
const TRIED = 64;

/** Rows that are made when they are first asked for, and kept: training starts at once, however much data there is. */
export function lazyRows<Source, Row>({ sources, make, weight, digest }: LazyRows<Source, Row>): Rows<Row> {
  const made = new Map<number, Row>();
  const weights = sources.map(weight);
  const longest = [...sources.keys()].sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0)).slice(0, TRIED);
  return {
    length: sources.length,
    at(number) {
      const known = made.get(number);
      if (known !== undefined || number < 0 || number >= sources.length) return known;
      const row = make(sources[number] as Source); // there is one of that number
      made.set(number, row);
      return row;
    },
    lazy: { longest, digest },
  };
}

/** Rows of the given numbers. */
export const rowsAt = <Row>(rows: Rows<Row>, numbers: readonly number[]): readonly Row[] =>
  numbers.map((number) => rows.at(number) as Row); // numbers are of rows

/** Numbers of all rows. */
export const numbersOf = (rows: Rows<unknown>): readonly number[] => Array.from({ length: rows.length }, (_, i) => i);

/** All rows as a list. */
export const listOf = <Row>(rows: Rows<Row>): readonly Row[] => rowsAt(rows, numbersOf(rows));

/** Rows among which the longest is: all of them, unless they are yet to be made. */
export const longestOf = <Row>(rows: Rows<Row>): readonly Row[] =>
  rows.lazy === undefined ? listOf(rows) : rowsAt(rows, rows.lazy.longest);
