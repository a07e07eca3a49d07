/** @file What codes stand for: the tables of NF4, FP4 and of eight-bit codes of scales. */

/**
 * The 16 numbers of NF4: quantiles of a normal distribution, scaled to end at −1 and 1, with an exact zero.
 * @see Dettmers et al. 2023, QLoRA, appendix E; bitsandbytes `get_4bit_type`.
 */
export const NF4: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

const HALF_FP4 = [0, 0.0625, 8, 12, 4, 6, 2, 3].map((x) => Math.fround(x / 12));

/** The 16 numbers of FP4: sign, two bits of exponent, one of fraction, in bitsandbytes' order and scaled to end at ±1; both zeros are 0. */
export const FP4: readonly number[] = [...HALF_FP4, ...HALF_FP4.map((x) => 0 - x)];

/** torch.linspace in f32: from both ends to the middle. */
function linspace(from: number, to: number, steps: number): number[] {
  const step = Math.fround(Math.fround(to - from) / (steps - 1));
  return Array.from({ length: steps }, (_, i) =>
    i < steps / 2 ? Math.fround(from + step * i) : Math.fround(to - step * (steps - 1 - i)),
  );
}

/**
 * The 256 numbers of signed eight-bit codes: in each of seven decades the middles of 1, 2, 4 … 64 equal stretches, with
 * either sign, and 0 and 1. Every step is rounded to f32 as torch does.
 * @see Dettmers 2015, 8-Bit Approximations for Parallelism; bitsandbytes `create_dynamic_map`.
 */
export const DYNAMIC: readonly number[] = [0, 1, 2, 3, 4, 5, 6]
  .flatMap((decade) => {
    const ends = linspace(Math.fround(0.1), 1, 2 ** decade + 1);
    const factor = Math.fround(10 ** (decade - 6));
    return ends.slice(1).map((end, i) => {
      const middle = Math.fround(Math.fround((ends[i] ?? 0) + end) / 2);
      return Math.fround(factor * middle);
    });
  })
  .flatMap((x) => [x, -x])
  .concat(0, 1)
  .sort((a, b) => a - b);
