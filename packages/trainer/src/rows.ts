/** @file Rows by number: a list, or rows that are made when a step first needs them. */
import { digest } from "./digest.ts";

/** Rows by number. A list is one. */
export interface Rows<Row> {
  readonly length: number;
  at(number: number): Row | undefined;
  /** Only of rows that are not made yet. */
  readonly lazy?: Survey;
}

/** What is known of rows before they are made. */
interface Survey {
  /** The numbers of rows among which the longest is to be expected; programs are compiled for these before the first step. */
  readonly longest: readonly number[];
  /** Tells the rows from those of other data. */
  readonly digest: string;
}

/** What rows are made from. */
export interface LazyRows<Source, Row> {
  readonly sources: Rows<Source>;
  readonly make: (source: Source) => Row;
  /** Bytes that a row is going to take, roughly and cheaply: 16 a token, which are some 4 characters. */
  readonly weight: (source: Source) => number;
  /** What of a source decides its row. */
  readonly identity: (source: Source) => unknown;
  /** What else decides the rows: how they are made. */
  readonly settings: readonly unknown[];
}

/** Rows that are made before the first step, to find the longest. */
const TRIED = 64;

/** Bytes of the rows that are kept once they are made, however many there are. */
const KEPT = 2 ** 27;

/**
 * Rows that are made when they are first asked for: training starts at once, however much data there is. Those made last
 * are kept; others are made anew when they are asked for again.
 */
export function lazyRows<Source, Row>(of: LazyRows<Source, Row>): Rows<Row> {
  const { sources, make, weight } = of;
  const made = new Map<number, { readonly row: Row; readonly weighs: number }>();
  let held = 0;
  return {
    length: sources.length,
    at(number) {
      const known = made.get(number);
      if (known !== undefined) return known.row;
      const source = sources.at(number);
      if (number < 0 || source === undefined) return undefined;
      const [row, weighs] = [make(source), weight(source)];
      made.set(number, { row, weighs });
      held += weighs;
      for (const [oldest, { weighs }] of made) {
        if (held <= KEPT) break;
        made.delete(oldest);
        held -= weighs;
      }
      return row;
    },
    lazy: survey(of),
  };
}

/** Looks once through what rows are made from: which are the heaviest, the first of equals, and what tells them from others. */
function survey<Source>({ sources, weight, identity, settings }: LazyRows<Source, unknown>): Survey {
  const heaviest: { readonly number: number; readonly weighs: number }[] = [];
  const identities = function* (): Generator {
    let number = 0;
    for (const source of each(sources)) {
      const weighs = weight(source);
      const place = heaviest.findLastIndex((other) => other.weighs >= weighs) + 1;
      if (place < TRIED) heaviest.splice(place, 0, { number, weighs });
      if (heaviest.length > TRIED) heaviest.pop();
      number++;
      yield identity(source);
    }
    yield* settings;
  };
  const told = digest({ length: sources.length + settings.length, [Symbol.iterator]: identities });
  return { longest: heaviest.map(({ number }) => number), digest: told };
}

/** Rows of the given numbers. */
export const rowsAt = <Row>(rows: Rows<Row>, numbers: Iterable<number>): readonly Row[] =>
  Array.from(numbers, (number) => rows.at(number) as Row); // numbers are of rows

/** All rows one after the other, of which none is held. */
export function* each<Row>(rows: Rows<Row>): Generator<Row> {
  for (let i = 0; i < rows.length; i++) yield rows.at(i) as Row; // there is one of that number
}

/** Numbers of all rows: 0 … n − 1. */
export const numbersOf = ({ length }: Pick<Rows<unknown>, "length">): Uint32Array =>
  Uint32Array.from({ length }, (_, i) => i);

/** All rows as a list. */
export const listOf = <Row>(rows: Rows<Row>): readonly Row[] => [...each(rows)];

/** Rows among which the longest is: all of them, unless they are yet to be made. */
export const longestOf = <Row>(rows: Rows<Row>): readonly Row[] =>
  rows.lazy === undefined ? listOf(rows) : rowsAt(rows, rows.lazy.longest);
