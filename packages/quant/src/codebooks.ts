/** @file What codes stand for: the tables of NF4, FP4 and of eight-bit codes of scales. */
import { dynamicTable } from "@graftml/tensor";

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

/** The 256 numbers of signed eight-bit codes of scales. */
export const DYNAMIC: readonly number[] = dynamicTable({ signed: true });
