/** @file Random tokens: what they are does not change how long a step takes. */

/** A row of so many tokens. */
export const randomRow = (length: number, vocabulary: number): readonly number[] =>
  Array.from({ length }, () => Math.floor(Math.random() * vocabulary));
