/** @file The middle of measurements. */

/** The middle of a list of numbers; of an even one, the upper of both; NaN of none. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
