/** @file The mean of f32 numbers, to the bit as torch computes it on a CPU. */

/** Numbers that torch adds at once, and how many such vectors it keeps apart. */
const LANES = 8;
const ROWS = 4;
/** Sums of sums of sums of sums: so that no sum grows much larger than what is added to it. */
const LEVELS = 4;

const add = (sums: Float32Array, values: Float32Array): void => {
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + (values[i] ?? 0);
};

/** Sums of `rows` rows of `width` numbers, column by column, by pairs of levels. */
function columnSums(values: Float32Array, rows: number, width: number): Float32Array {
  const power = Math.max(4, Math.floor(Math.ceil(Math.log2(Math.max(1, rows))) / LEVELS));
  const step = 2 ** power;
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
  const [lowest = new Float32Array(width)] = levels;
  const row = (i: number): Float32Array => values.subarray(i * width, (i + 1) * width);
  let done = 0;
  while (done + step <= rows) {
    for (let j = 0; j < step; j++) add(lowest, row(done++));
    for (let level = 1; level < LEVELS; level++) {
      const [above, below] = [levels[level] ?? lowest, levels[level - 1] ?? lowest];
      add(above, below);
      below.fill(0);
      if (done % step ** (level + 1) !== 0) break;
    }
  }
  for (; done < rows; done++) add(lowest, row(done));
  for (const level of levels.slice(1)) add(lowest, level);
  return lowest;
}

/**
 * The mean of all numbers, each addition rounded to f32 in the order of torch's sum on one thread.
 * @see ATen/native/cpu/SumKernel.cpp, `cascade_sum`.
 */
export function mean(values: Float32Array): number {
  const lanes = values.length < LANES ? 1 : LANES;
  const vectors = Math.floor(values.length / lanes);
  const groups = Math.floor(vectors / ROWS);
  const sums = columnSums(values, groups, ROWS * lanes);
  const total = sums.slice(0, lanes);
  for (let v = groups * ROWS; v < vectors; v++) add(total, values.subarray(v * lanes, (v + 1) * lanes));
  for (let row = 1; row < ROWS; row++) add(total, sums.subarray(row * lanes, (row + 1) * lanes));
  let sum = 0;
  for (const x of values.subarray(vectors * lanes)) sum = Math.fround(sum + x);
  for (const x of total) sum = Math.fround(sum + x);
  return Math.fround(sum / values.length);
}
