/** @file Learning rates that methods start from where nobody says one. */

/**
 * By method: AdamW's rate on a small pretrained model, from few trials on an encoder; prompts and masks want far more than
 * weights do. What is not here starts from the run's `train.lr`.
 * @see Liu et al. 2022, https://arxiv.org/abs/2205.05638, appendix, which has rates of the same order for T0.
 */
export const usualRates: Readonly<Record<string, number>> = {
  full: 1e-4,
  "auto-rgn": 1e-4,
  "auto-snr": 1e-4,
  diffprune: 3e-4,
  top: 1e-3,
  blocks: 3e-4,
  bitfit: 3e-3,
  "random-subset": 3e-3,
  lora: 2e-3,
  adalora: 2e-3,
  houlsby: 1e-3,
  pfeiffer: 1e-3,
  parallel: 1e-3,
  ia3: 1e-2,
  prefix: 2e-2,
  prompt: 5e-2,
  "p-tuning": 5e-3,
};
