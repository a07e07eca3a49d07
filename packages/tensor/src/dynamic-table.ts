/** @file The tables of eight-bit codes whose steps grow with the number, and where one code ends and the next begins. */

/** torch.linspace in f32: from both ends to the middle. */
function linspace(from: number, to: number, steps: number): number[] {
  const step = Math.fround(Math.fround(to - from) / (steps - 1));
  return Array.from({ length: steps }, (_, i) =>
    i < steps / 2 ? Math.fround(from + step * i) : Math.fround(to - step * (steps - 1 - i)),
  );
}

/**
 * The 256 numbers of eight-bit codes, in order: 0, 1, and in each of seven decades up to 1 the middles of equal stretches. Signed
 * it has 1, 2, 4 … 64 stretches, with either sign; else twice as many. Every step is rounded to f32 as torch does.
 * @see Dettmers 2015, 8-Bit Approximations for Parallelism; bitsandbytes `create_dynamic_map`.
 */
export function dynamicTable({ signed }: { readonly signed: boolean }): readonly number[] {
  const sizes = [0, 1, 2, 3, 4, 5, 6].flatMap((decade) => {
    const ends = linspace(Math.fround(0.1), 1, (signed ? 1 : 2) * 2 ** decade + 1);
    const factor = Math.fround(10 ** (decade - 6));
    return ends.slice(1).map((end, i) => {
      const middle = Math.fround(Math.fround((ends[i] ?? 0) + end) / 2);
      return Math.fround(factor * middle);
    });
  });
  const numbers = signed ? sizes.flatMap((x) => [x, -x]) : sizes;
  return [...numbers, 0, 1].sort((a, b) => a - b);
}

/** Middles of neighbours in a sorted table, in f32: the nearest number of x is that with as many middles below x. */
export const middles = (table: readonly number[]): Float32Array =>
  Float32Array.from(table.slice(1), (x, i) => Math.fround(Math.fround((table[i] ?? 0) + x) / 2));
