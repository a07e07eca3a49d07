/** @file The models that scripts/golden/models.py made, and what transformers makes of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Nested lists of numbers. */
export type Nested = number | readonly Nested[];

/** What golden.json holds. */
export interface Golden {
  readonly ids: readonly (readonly number[])[];
  readonly logits: Nested;
  readonly loss: number;
  readonly greedy: readonly (readonly number[])[];
  readonly gradients: Readonly<Record<string, Nested>>;
}

/** Every folder of golden values. */
export const cases = ["llama", "llama-tied", "gpt2", "gpt2-untied"] as const;

/** The folder of a case. */
export const folderOf = (name: string): string => join(import.meta.dirname, "golden", name);

/** What transformers says of a case. */
export const goldenOf = (name: string): Golden =>
  JSON.parse(readFileSync(join(folderOf(name), "golden.json"), "utf8")) as Golden;

/** Nested lists as one. */
export const flat = (x: Nested): number[] => (typeof x === "number" ? [x] : x.flatMap(flat));

/** Largest difference, relative to the largest expected value. */
export function difference(got: ArrayLike<number>, want: readonly number[]): number {
  if (got.length !== want.length) throw new Error(`${got.length} values, ${want.length} are expected.`);
  const peak = want.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return want.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (got[i] ?? NaN))), 0) / peak;
}
