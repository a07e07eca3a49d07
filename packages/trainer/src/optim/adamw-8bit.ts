/** @file AdamW that keeps its moments in eight bits, in blocks with a scale of their own. @see Dettmers et al. 2022, 8-bit Optimizers via Block-wise Quantization, §2. */
import {
  applyAll,
  type Aval,
  dynamicTable,
  grid,
  input,
  type Kernel,
  middles,
  type Op,
  output,
  sameShape,
  ShapeError,
  show,
  type Value,
} from "@graftml/tensor";
import { adamStep, adamText, SCALARS } from "./adam-step.ts";
import { adamw } from "./adamw.ts";
import { BLOCK, chunksOf, rangeOf } from "./chunks.ts";
import type { BucketUpdate, Optimizer, OptimizerSettings } from "./optimizer.ts";

/** Numbers of a table of eight-bit codes. */
const CODES = 256;
/** Threads that share a block: each has the four numbers whose codes are one word. */
const THREADS = BLOCK / 4;

/** A table and where its codes end. */
interface Book {
  readonly table: readonly number[];
  readonly bounds: Float32Array;
}
const bookOf = (signed: boolean): Book => {
  const table = dynamicTable({ signed });
  return { table, bounds: middles(table) };
};
/** m has a sign, v has none. */
const books = [bookOf(true), bookOf(false)] as const;

/** Both books as the kernel reads them: a table, its bounds and a number that is not read, twice. */
const bookValues = (): Float32Array<ArrayBuffer> =>
  Float32Array.from(books.flatMap(({ table, bounds }) => [...table, ...bounds, 0]));
const BOOKS = 4 * CODES;

const kernel: Kernel = {
  label: "adamw 8-bit",
  code: `struct Sizes { first: u32, count: u32 }
@group(0) @binding(0) var<storage, read_write> p: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> codes: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> scales: array<vec2f>;
@group(0) @binding(3) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(4) var<storage, read> rates: array<vec2f>;
@group(0) @binding(5) var<storage, read> s: array<f32>;
@group(0) @binding(6) var<storage, read> clip: array<f32>;
@group(0) @binding(7) var<storage, read> books: array<f32>;
@group(0) @binding(8) var<uniform> sizes: Sizes;
${adamText}
/** Largest mean and square of the block, as bits: those of numbers without a sign are in their order. */
var<workgroup> largest: array<atomic<u32>, 2>;

fn decoded(word: u32, book: u32) -> vec4f {
  let at = book + ((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(${CODES - 1}u));
  return vec4f(books[at.x], books[at.y], books[at.z], books[at.w]);
}

/** A code is the number of bounds that lie below x. */
fn encoded(x: vec4f, book: u32) -> u32 {
  var code = vec4u();
  for (var step = ${CODES / 2}u; step > 0u; step >>= 1u) {
    let at = book + ${CODES}u + code + (step - 1u);
    code += select(vec4u(), vec4u(step), x > vec4f(books[at.x], books[at.y], books[at.z], books[at.w]));
  }
  return dot(code, vec4u(1u, 256u, 65536u, 16777216u));
}

fn most(x: vec4f) -> u32 { return bitcast<u32>(max(max(x.x, x.y), max(x.z, x.w))); }

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let block = group.x + group.y * groups.x;
  if (block >= sizes.count) { return; }
  let i = block * ${THREADS}u + thread;
  let place = sizes.first + block;
  let old = scales[place];
  let g = gradient[i] * clip[0];
  let mean = meanOf(decoded(codes[i].x, 0u) * old.x, g);
  let square = squareOf(decoded(codes[i].y, ${2 * CODES}u) * old.y, g);
  p[i] = moved(p[i], mean, square, rates[place]);
  atomicMax(&largest[0], most(abs(mean)));
  atomicMax(&largest[1], most(square));
  workgroupBarrier();
  let scale = vec2f(bitcast<f32>(atomicLoad(&largest[0])), bitcast<f32>(atomicLoad(&largest[1])));
  let unit = select(scale, vec2f(1.0), scale == vec2f());
  codes[i] = vec2u(encoded(mean / unit.x, 0u), encoded(square / unit.y, ${2 * CODES}u));
  if (thread == 0u) { scales[place] = scale; }
}
`,
};

/**
 * Inputs: p [N]; codes u32 [N/2]: those of four numbers in a word, the first in the lowest byte, of m and of v in turn; scales
 * [N/128]: of m and of v in turn; gradient [N]; rates [N/256, 2]; scalars [8]; clip []; both books [1024]. Updates the first three.
 */
export const adamw8bitOp: Op<Record<never, never>> = {
  name: "adamw8bit",
  infer([p, codes, scales, gradient, rates, scalars]) {
    const [size = 0] = p?.shape ?? [];
    const has = (t: Aval | undefined, dtype: Aval["dtype"], ...shape: readonly number[]): boolean =>
      t?.dtype === dtype && sameShape(t.shape, shape);
    const fits =
      has(codes, "u32", size / 2) &&
      has(scales, "f32", size / (BLOCK / 2)) &&
      has(gradient, "f32", size) &&
      has(rates, "f32", size / BLOCK, 2) &&
      has(scalars, "f32", SCALARS);
    if (!fits || size % BLOCK !== 0)
      throw new ShapeError(
        `adamw8bit: p, codes, scales, gradient, rates, scalars are ${[p, codes, scales, gradient, rates, scalars].map((t) => `${t?.dtype} ${show(t?.shape ?? [])}`).join(", ")}: ` +
          `wants f32 [N] with N a multiple of ${BLOCK}, u32 [N/2], f32 [N/${BLOCK / 2}], [N], [N/${BLOCK}, 2] and [${SCALARS}].`,
      );
    return [p, codes, scales].flatMap((t) => t ?? []);
  },
  reference(inputs) {
    const [p, codes, scales, gradient, rates, scalars, clip] = inputs as readonly [
      Value,
      Value,
      Value,
      Value,
      Value,
      Value,
      Value,
    ]; // as infer saw them
    const [factor = 1] = clip;
    for (let block = 0; block < p.length / BLOCK; block++) {
      const [rate = 0, decays = 0] = rates.subarray(2 * block);
      const own = scales.subarray(2 * block, 2 * block + 2);
      const moments = [new Float64Array(BLOCK), new Float64Array(BLOCK)] as const;
      for (let k = 0; k < BLOCK; k++) {
        const i = block * BLOCK + k;
        const [mean = 0, square = 0] = books.map(
          ({ table }, of) => (table[codeAt(codes, i, of)] ?? 0) * (own[of] ?? 0),
        );
        const moved = adamStep({ p: p[i] ?? 0, mean, square }, (gradient[i] ?? 0) * factor, scalars, rate, decays);
        p[i] = moved.p;
        [moments[0][k], moments[1][k]] = [moved.mean, moved.square];
      }
      moments.forEach((values, of) => {
        const scale = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        own[of] = scale;
        for (let k = 0; k < BLOCK; k += 4)
          codes[2 * ((block * BLOCK + k) / 4) + of] = wordOf(values.subarray(k, k + 4), scale || 1, books[of] as Book); // m or v
      });
    }
    return [p, codes, scales];
  },
  kernel({ inputs: [p] }, target) {
    const [size = 0] = p?.shape ?? [];
    const dispatches = chunksOf(size, target).map((chunk) => {
      const range = rangeOf(chunk);
      const half = { offset: range.offset / 2, size: range.size / 2 };
      const blocks = chunk.count / BLOCK;
      return {
        kernel,
        operands: [
          output(0, range),
          output(1, half),
          output(2),
          input(3, range),
          input(4),
          input(5),
          input(6),
          input(7),
        ],
        sizes: [chunk.start / BLOCK, blocks],
        workgroups: grid(blocks, target.maxWorkgroups),
        cost: { flops: 60 * chunk.count, bytes: 16 * chunk.count },
      };
    });
    return { dispatches };
  },
  aliases: [0, 1, 2],
  updates: true,
};

/** The code of number i, of m (0) or v (1). */
const codeAt = (codes: Value, i: number, of: number): number =>
  ((codes[2 * (i >> 2) + of] ?? 0) >>> (8 * (i & 3))) & (CODES - 1);

/** Four numbers as codes of what they are in units of their scale, in a word. */
const wordOf = (values: Value, unit: number, { bounds }: Book): number =>
  values.reduceRight((word, x) => {
    let [code, end] = [0, bounds.length];
    while (code < end) {
      const middle = (code + end) >> 1;
      if (x / unit > (bounds[middle] ?? 0)) code = middle + 1;
      else end = middle;
    }
    return word * CODES + code;
  }, 0);

/**
 * AdamW whose moments take 2.03 bytes a parameter instead of 8: codes of eight bits, and a scale for every 256 of them. The
 * step itself is computed in f32, from moments that have been rounded once more than in `adamw`.
 *
 * Blocks begin anew with every parameter. What bitsandbytes keeps in 32 bits, parameters of less than 4096 numbers, has codes too.
 */
export function adamw8bit(settings: OptimizerSettings = {}): Optimizer {
  return {
    ...adamw(settings),
    name: "adamw_8bit",
    state: [
      { name: "codes", dtype: "u32", perBlock: BLOCK / 2 },
      { name: "scales", dtype: "f32", perBlock: 2 },
    ],
    update: (bucket) => updateIn8(bucket, adamw8bitOp),
  };
}

/** Traces the update by an op of these inputs. */
export function updateIn8(
  { value, gradient, clip, state, rates, scalars }: BucketUpdate,
  op: Op<Record<never, never>>,
): void {
  const tables = value.node.trace.constant("codebooks of moments", [BOOKS], bookValues);
  applyAll(op, [value, ...state, gradient, rates, scalars, clip, tables], {});
}
