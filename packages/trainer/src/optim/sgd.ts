/** @file Stochastic gradient descent with momentum, written with ordinary ops: any optimizer can be. @see torch `optim/sgd.py`. */
import { add, assign, mul, reshape, slice, sub } from "@graftml/tensor";
import { BLOCK } from "./chunks.ts";
import { moment, type Optimizer, type OptimizerSettings } from "./optimizer.ts";

/**
 * b ← μb + g + λp, then p ← p − ηb. Without momentum nothing is remembered.
 */
export function sgd({ momentum = 0, weightDecay = 0 }: OptimizerSettings = {}): Optimizer {
  return {
    name: "sgd",
    settings: { momentum, weight_decay: weightDecay },
    state: momentum === 0 ? [] : [moment("momentum")],
    scalars: (_, lr) => [lr, momentum, weightDecay],
    update({ value, gradient, clip, state: [velocity], rates, scalars }) {
      const [size = 0] = value.shape;
      const blocks = size / BLOCK;
      const [lr, keep, decay] = [0, 1, 2].map((i) => slice(scalars, 0, i, 1)) as [
        typeof scalars,
        typeof scalars,
        typeof scalars,
      ]; // three of them
      const inBlocks = (t: typeof value): typeof value => reshape(t, [blocks, BLOCK]);
      const p = inBlocks(value);
      const decayed = mul(p, mul(slice(rates, 1, 1, 1), decay)); // [N/256, 256]
      const g = add(mul(inBlocks(gradient), clip), decayed);
      const step = velocity === undefined ? g : add(mul(inBlocks(velocity), keep), g);
      const moved = sub(p, mul(mul(slice(rates, 1, 0, 1), lr), step));
      if (velocity !== undefined) assign(velocity, reshape(step, [size]));
      assign(value, reshape(moved, [size]));
    },
  };
}
