/** @file AdamW as one op that updates a bucket in place. */
import { applyAll, input, type Kernel, type Op, output, ShapeError, show, type Value } from "@graftml/tensor";
import { adamScalars, adamStep, adamText, SCALARS } from "./adam-step.ts";
import { BLOCK, chunksOf, groupsFor, rangeOf, THREADS } from "./chunks.ts";
import { moment, type Optimizer, type OptimizerSettings } from "./optimizer.ts";

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
${adamText}
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let factor = clip[0];
  for (var i = id.x; i < sizes.count; i += groups.x * ${THREADS}u) {
    let g = gradient[i] * factor;
    let mean = meanOf(m[i], g);
    let square = squareOf(v[i], g);
    m[i] = mean;
    v[i] = square;
    p[i] = moved(p[i], mean, square, rates[(sizes.first + i) / ${BLOCK / 4}u]);
  }
}
`,
};

/** Inputs: p, m, v, gradient [N]; rates [N/256, 2]; scalars [8]; clip []. Updates the first three. */
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
    const [factor = 1] = clip;
    gradient.forEach((raw, i) => {
      const at = 2 * Math.floor(i / BLOCK);
      const [value = 0, mean = 0, square = 0] = [p[i], m[i], v[i]];
      const moved = adamStep({ p: value, mean, square }, raw * factor, scalars, rates[at] ?? 0, rates[at + 1] ?? 0);
      [p[i], m[i], v[i]] = [moved.p, moved.mean, moved.square];
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
  const settings = { beta1, beta2, eps, weight_decay: weightDecay };
  return {
    name: "adamw",
    settings,
    state: [moment("m"), moment("v")],
    scalars: (step, lr) => adamScalars(settings, step, lr),
    update({ value, gradient, clip, state, rates, scalars }) {
      applyAll(adamwOp, [value, ...state, gradient, rates, scalars, clip], {});
    },
  };
}
