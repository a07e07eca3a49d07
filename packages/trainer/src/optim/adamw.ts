/** @file AdamW as one op that updates a bucket in place. @see Loshchilov & Hutter 2019, algorithm 2; torch `optim/adamw.py`. */
import { applyAll, input, type Kernel, type Op, output, ShapeError, show, type Value } from "@graftml/tensor";
import { BLOCK, chunksOf, groupsFor, rangeOf, THREADS } from "./chunks.ts";
import type { Optimizer, OptimizerSettings } from "./optimizer.ts";

/** Places of the step's numbers. 1 − β is made on the host: in f32 it would lose four digits. */
const [LR, NEW1, KEEP2, NEW2, EPS, DECAY, BIAS1, BIAS2] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const SCALARS = 8;

const kernel: Kernel = {
  label: "adamw",
  code: `struct Sizes { first: u32, count: u32 }
@group(0) @binding(0) var<storage, read_write> p: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(4) var<storage, read> rates: array<vec2f>;
@group(0) @binding(5) var<storage, read> s: array<f32>;
@group(0) @binding(6) var<storage, read> clip: array<f32>;
@group(0) @binding(7) var<uniform> sizes: Sizes;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let factor = clip[0];
  for (var i = id.x; i < sizes.count; i += groups.x * ${THREADS}u) {
    let block = rates[(sizes.first + i) / ${BLOCK / 4}u];
    let lr = s[${LR}] * block.x;
    let g = gradient[i] * factor;
    let mean = m[i] + (g - m[i]) * s[${NEW1}];
    let square = v[i] * s[${KEEP2}] + g * g * s[${NEW2}];
    m[i] = mean;
    v[i] = square;
    let root = sqrt(square) / s[${BIAS2}] + s[${EPS}];
    p[i] = p[i] * (1.0 - lr * s[${DECAY}] * block.y) - lr / s[${BIAS1}] * (mean / root);
  }
}
`,
};

/** Inputs: p, m, v, gradient [N]; rates [N/64, 2]; scalars [8]; clip []. Updates the first three. */
export const adamwOp: Op<Record<never, never>> = {
  name: "adamw",
  infer([p, m, v, gradient, rates, scalars]) {
    const [size = 0] = p?.shape ?? [];
    const fits = [m, v, gradient].every((t) => t?.shape.length === 1 && t.shape[0] === size);
    if (
      !fits ||
      size % BLOCK !== 0 ||
      rates?.shape[0] !== size / BLOCK ||
      rates.shape[1] !== 2 ||
      scalars?.shape[0] !== SCALARS
    )
      throw new ShapeError(
        `adamw: p, m, v, gradient, rates, scalars are ${[p, m, v, gradient, rates, scalars].map((t) => show(t?.shape ?? [])).join(", ")}: ` +
          `wants four times [N] with N a multiple of ${BLOCK}, [N/${BLOCK}, 2] and [${SCALARS}].`,
      );
    return [p, m, v].flatMap((t) => t ?? []);
  },
  reference(inputs) {
    const [p, m, v, gradient, rates, scalars, clip] = inputs as readonly [
      Value,
      Value,
      Value,
      Value,
      Value,
      Value,
      Value,
    ]; // as infer saw them
    const [rate = 0, new1 = 0, keep2 = 0, new2 = 0, eps = 0, decay = 0, bias1 = 1, bias2 = 1] = scalars;
    const [factor = 1] = clip;
    gradient.forEach((raw, i) => {
      const at = 2 * Math.floor(i / BLOCK);
      const [scale = 0, decays = 0] = rates.subarray(at, at + 2);
      const [value = 0, mean = 0, square = 0] = [p[i], m[i], v[i]];
      const g = raw * factor;
      m[i] = mean + (g - mean) * new1;
      v[i] = square * keep2 + g * g * new2;
      const lr = rate * scale;
      p[i] = value * (1 - lr * decay * decays) - ((lr / bias1) * m[i]) / (Math.sqrt(v[i]) / bias2 + eps);
    });
    return [p, m, v];
  },
  kernel({ inputs: [p] }, target) {
    const [size = 0] = p?.shape ?? [];
    const dispatches = chunksOf(size, target).map((chunk) => {
      const range = rangeOf(chunk);
      return {
        kernel,
        operands: [output(0, range), output(1, range), output(2, range), input(3, range), input(4), input(5), input(6)],
        sizes: [chunk.start / 4, chunk.count / 4],
        workgroups: [groupsFor(chunk.count / 4, target), 1, 1] as const,
        cost: { flops: 15 * chunk.count, bytes: 28 * chunk.count },
      };
    });
    return { dispatches };
  },
  aliases: [0, 1, 2],
  updates: true,
};

/**
 * AdamW with decoupled weight decay and bias-corrected moments, torch's formulas and defaults but for the decay: 0 here.
 *
 * p ← p(1 − ηλ) − η m̂ / (√v̂ + ε)
 */
export function adamw({
  betas: [beta1, beta2] = [0.9, 0.999],
  eps = 1e-8,
  weightDecay = 0,
}: OptimizerSettings = {}): Optimizer {
  return {
    name: "adamw",
    settings: { beta1, beta2, eps, weight_decay: weightDecay },
    state: ["m", "v"],
    scalars: (step, lr) => [
      lr,
      1 - beta1,
      beta2,
      1 - beta2,
      eps,
      weightDecay,
      1 - beta1 ** step,
      Math.sqrt(1 - beta2 ** step),
    ],
    update({ value, gradient, clip, state, rates, scalars }) {
      applyAll(adamwOp, [value, ...state, gradient, rates, scalars, clip], {});
    },
  };
}
