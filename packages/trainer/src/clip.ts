/** @file The global norm of all gradients, and the factor that keeps it below a maximum. @see torch `clip_grad_norm_`. */
import {
  add,
  apply,
  type Dispatch,
  div,
  fill,
  input,
  type Kernel,
  maximum,
  type Op,
  output,
  scratch,
  shift,
  sqrt,
  type Tensor,
} from "@graftml/tensor";
import { chunksOf, groupsFor, rangeOf, THREADS } from "./optim/chunks.ts";

/** Workgroups of the first pass at most: each of their threads leaves one partial sum. */
const MAX_GROUPS = 256;

const partial: Kernel = {
  label: "squared norm, parts",
  code: `struct Sizes { first: u32, count: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;
@group(0) @binding(2) var<uniform> sizes: Sizes;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var total = 0.0;
  for (var i = id.x; i < sizes.count; i += groups.x * ${THREADS}u) { total += dot(x[i], x[i]); }
  parts[sizes.first + id.x] = total;
}
`,
};

const whole: Kernel = {
  label: "squared norm",
  code: `struct Sizes { count: u32 }
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> sizes: Sizes;
var<workgroup> sums: array<f32, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  var total = 0.0;
  for (var i = thread; i < sizes.count; i += ${THREADS}u) { total += dot(parts[i], vec4f(1.0)); }
  sums[thread] = total;
  workgroupBarrier();
  if (thread == 0u) {
    var all = 0.0;
    for (var i = 0u; i < ${THREADS}u; i += 1u) { all += sums[i]; }
    y[0] = all;
  }
}
`,
};

/** Σ x² of a bucket [N] → [], in a fixed order. Unlike `sum(square(x))` it needs no second bucket to hold the squares. */
export const squaredNormOp: Op<Record<never, never>> = {
  name: "squaredNorm",
  infer: () => [{ shape: [], dtype: "f32" }],
  reference: ([x]) => [Float64Array.of(x?.reduce((total, e) => total + e * e, 0) ?? 0)],
  kernel({ inputs: [x] }, target) {
    let parts = 0;
    const first = chunksOf(x?.shape[0] ?? 0, target).map((chunk): Dispatch => {
      const groups = Math.min(groupsFor(chunk.count / 4, target), MAX_GROUPS);
      const start = parts;
      parts += groups * THREADS;
      return {
        kernel: partial,
        operands: [input(0, rangeOf(chunk)), scratch(0, "write")],
        sizes: [start, chunk.count / 4],
        workgroups: [groups, 1, 1],
        cost: { flops: 2 * chunk.count, bytes: 4 * chunk.count },
      };
    });
    const last: Dispatch = {
      kernel: whole,
      operands: [scratch(0, "read"), output(0)],
      sizes: [parts / 4],
      workgroups: [1, 1, 1],
    };
    return { dispatches: [...first, last], scratch: [4 * parts] };
  },
};

/** √Σ g² over all buckets → []. */
export const globalNorm = (buckets: readonly Tensor[]): Tensor =>
  sqrt(buckets.map((g) => apply(squaredNormOp, [g], {})).reduce(add));

/** The same factor on the host. */
export const clipFactorOf = (norm: number, max: number): number => (max === 0 ? 1 : Math.min(1, max / (norm + 1e-6)));

/** min(1, max / (norm + 10⁻⁶)) → []; 1 where `max` is 0. */
export function clipFactor(norm: Tensor, max: number): Tensor {
  const limit = fill(norm.node.trace, [], max);
  return max === 0 ? fill(norm.node.trace, [], 1) : div(limit, maximum(shift(norm, 1e-6), limit));
}
