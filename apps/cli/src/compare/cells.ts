/** @file What a comparison trains: methods with their keys, by seeds and learning rates, each a run of its own. */
import { join } from "node:path";
import { digest } from "@graftml/trainer";
import { UsageError } from "../errors.ts";
import type { KeyPath } from "../flags.ts";
import { parseRun, type RunSource } from "../run-file.ts";
import type { Compared, Run } from "../schema.ts";
import { usualRates } from "./rates.ts";

/** One row of the table. */
export interface Entry {
  /** "lora rank 8": the method and what is said of it. */
  readonly title: string;
  readonly methods: Run["methods"];
  /** Learning rates to try; one alone needs no trial. */
  readonly rates: readonly number[];
  /** Where the run file, or a flag, has it. */
  readonly at: KeyPath;
}

/** One training run of a comparison. */
export interface Cell {
  readonly run: Run;
  readonly source: RunSource;
  readonly out: string;
}

/** What distinguishes cells of one entry. */
interface Setting {
  readonly lr: number;
  readonly seed: number;
  readonly steps: number;
}

/**
 * Rows of a comparison's table; a member with `each` gives one for every item of it.
 * @param fallback the rate of methods that have no usual one.
 * @throws {UsageError} for two rows of one title.
 */
export function entriesOf({ methods, lrs }: Compared, fallback: number): readonly Entry[] {
  const entries = methods.flatMap(({ title, lr, each = [{}], ...shared }, i) =>
    each.map((own): Entry => {
      const { name, ...keys } = { ...shared, ...own, name: shared.name };
      const said = Object.entries(keys).map(([key, value]) =>
        key === name ? wordOf(value) : `${key} ${wordOf(value)}`,
      );
      const words = [title ?? name, ...(title === undefined ? said : Object.values(own).map(wordOf))];
      const rates = lr === undefined ? (lrs ?? [usualRates[name] ?? fallback]) : [lr].flat();
      return { title: words.join(" "), methods: [{ name, ...keys }], rates, at: ["compare", "methods", i] };
    }),
  );
  const titles = entries.map((e) => e.title);
  const twice = titles.find((title, i) => titles.indexOf(title) !== i);
  if (twice !== undefined)
    throw new UsageError(`two rows of the comparison are called "${twice}"; give them a title each.`);
  return entries;
}

const wordOf = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value).replaceAll('"', "").replaceAll(",", ", ");

/**
 * A run of an entry: the run file with the entry's methods in the place of its own. Its folder is named after all that makes
 * it what it is, so that a cell is found again if and only if nothing of that has changed.
 */
export function cellOf(source: RunSource, entry: Entry, { lr, seed, steps }: Setting): Cell {
  // A run file is a map of keys: `readRunFile` has seen to it.
  const { compare: _, ...given } = source.content as Readonly<Record<string, object | undefined>>;
  const { epochs: __, ...train } = { epochs: undefined, ...given["train"] };
  const own: RunSource = {
    content: { ...given, methods: entry.methods, train: { ...train, lr, seed, steps } },
    where: (path) => source.where(path[0] === "methods" ? [...entry.at, ...path.slice(2)] : path),
    folder: (path) => source.folder(path[0] === "methods" ? entry.at : path),
  };
  const run = parseRun(own);
  if (run.out === undefined)
    throw new UsageError(`${source.where([])}: out is missing: the folder for what is compared.`);
  const name = entry.title.toLowerCase().replace(/[^\da-z]+/g, "-");
  const out = join(run.out, "compare", `${name.slice(0, LONGEST)}-${digest([own.content])}`);
  return { source: own, run: { ...run, out }, out };
}

/** Letters of a title in the name of a folder. */
const LONGEST = 60;
