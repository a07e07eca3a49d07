/** @file What a data file is made of: records as they stand in it, and the rows that tasks are given. */
import type { Picture, Turn } from "@graftml/models";

/** Everything that a column can be for an example, by the keys of `data.columns`. */
export interface Parts {
  readonly text: string;
  /** The second text of a pair. */
  readonly pair: string;
  /** A class by name or number, or a score; a list where a text may have several classes, or none. */
  readonly label: string | number | readonly (string | number)[];
  readonly prompt: string;
  readonly completion: string;
  readonly messages: readonly Turn[];
  readonly source: string;
  readonly target: string;
  readonly tokens: readonly string[];
  readonly tags: readonly (string | number)[];
  readonly image: Picture;
}

/** The name of a part. */
export type Part = keyof Parts;

/** Which column plays which part: by name, or by number from 0 where a file names none. */
export type Columns = { readonly [P in Part]?: string | number | undefined };

/** One example before it is tokens: the parts that its columns hold. */
export type Row = { readonly [P in Part]?: Parts[P] } & {
  /** Where it stands, for messages: "train.jsonl:17". */
  readonly origin: string;
  /** How many turns of `messages` are a prompt, of which nothing is learnt; absent: none. */
  readonly asked?: number;
  /**
   * Set where `text` is a stretch of running text, to be cut into as many examples as it fills: "first" where a file begins,
   * "next" where the stretch before it goes on.
   */
  readonly running?: "first" | "next";
};

/** A record of a file as it stands there: values by column. */
export interface Entry {
  readonly values: Readonly<Record<string, unknown>>;
  readonly origin: string;
  readonly running?: "first" | "next";
}

/** A data file that is being read. */
export interface DataFile {
  readonly path: string;
  /** Its name in messages. */
  readonly shown: string;
  /** Whether columns are given by number: the file then has no header. */
  readonly headless: boolean;
}

/** Reads the records of a file one after the other. @throws {UsageError} naming the file and the line of what is broken. */
export type Reader = (file: DataFile) => AsyncIterable<Entry>;
