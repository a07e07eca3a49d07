/** @file What AdamW does to one number: shared by the kernels that keep its moments in 32 and in 8 bits. @see Loshchilov & Hutter 2019, algorithm 2; torch `optim/adamw.py`. */

/** Places of the step's numbers. 1 − β is made on the host: in f32 it would lose four digits. */
const [LR, NEW1, KEEP2, NEW2, EPS, DECAY, BIAS1, BIAS2] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** How many numbers a step has. */
export const SCALARS = 8;

/** What AdamW is made with. */
export interface AdamSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weight_decay: number;
}

/** The numbers of one step: `step` counts from 1. */
export const adamScalars = (
  { beta1, beta2, eps, weight_decay: decay }: AdamSettings,
  step: number,
  lr: number,
): readonly number[] => [lr, 1 - beta1, beta2, 1 - beta2, eps, decay, 1 - beta1 ** step, Math.sqrt(1 - beta2 ** step)];

/** The moments of a gradient g, and a parameter p moved by them. `rate` is its block's pair of rates. */
export const adamText = `fn meanOf(mean: vec4f, g: vec4f) -> vec4f { return mean + (g - mean) * s[${NEW1}]; }
fn squareOf(square: vec4f, g: vec4f) -> vec4f { return square * s[${KEEP2}] + g * g * s[${NEW2}]; }
fn moved(p: vec4f, mean: vec4f, square: vec4f, rate: vec2f) -> vec4f {
  let lr = s[${LR}] * rate.x;
  let root = sqrt(square) / s[${BIAS2}] + s[${EPS}];
  return p * (1.0 - lr * s[${DECAY}] * rate.y) - lr / s[${BIAS1}] * (mean / root);
}
`;

/** One parameter with its moments. */
export interface Moved {
  readonly p: number;
  readonly mean: number;
  readonly square: number;
}

/** The same in float64. */
export function adamStep(
  { p, mean: oldMean, square: oldSquare }: Moved,
  g: number,
  scalars: ArrayLike<number>,
  scale: number,
  decays: number,
): Moved {
  const at = (i: number): number => scalars[i] ?? 0;
  const mean = oldMean + (g - oldMean) * at(NEW1);
  const square = oldSquare * at(KEEP2) + g * g * at(NEW2);
  const lr = at(LR) * scale;
  const root = Math.sqrt(square) / at(BIAS2) + at(EPS);
  return { p: p * (1 - lr * at(DECAY) * decays) - ((lr / at(BIAS1)) * mean) / root, mean, square };
}
