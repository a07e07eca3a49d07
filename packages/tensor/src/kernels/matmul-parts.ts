/** @file What every matrix product kernel is made of: operand loaders, the uniform with its sizes, and the bindings. */
import type { DType } from "../dtype.ts";
import { ShapeError } from "../errors.ts";
import type { Kernel } from "./kernel.ts";

/** Consecutive values that one load or store moves. */
export type Width = 1 | 2 | 4;

/** The widest of 4, 2 and 1 that is at most `most` and divides every length. */
export function widthFor(most: number, ...lengths: readonly number[]): Width {
  const fits = (width: number): boolean => width <= most && lengths.every((n) => n % width === 0);
  return fits(4) ? 4 : fits(2) ? 2 : 1;
}

/** WGSL type of `width` values. */
export const vector = (width: Width): string => (width === 1 ? "f32" : `vec${width}f`);

/** WGSL selector of value i in a vector of `width`. */
export const component = (width: Width, i: number): string => (width === 1 ? "" : `.${"xyzw".charAt(i)}`);

/** 0, 1, …, n − 1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/**
 * How an operand's values are read from its buffer. A kernel takes one for each operand and knows nothing else of the
 * storage: another format is another loader.
 */
export interface Loader {
  /** WGSL type of the array's elements when `width` values are read at a time. */
  element(width: Width): string;
  /** WGSL expression, of type `vector(width)`, of the values at `width * index` of the array. */
  load(array: string, index: string, width: Width): string;
}

const f32Loader: Loader = {
  element: vector,
  load: (array, index) => `${array}[${index}]`,
};

/** Two values to a word. `unpack2x16float` needs no feature of the device, and one word read yields two values. */
const f16Loader: Loader = {
  element: (width) => (width === 4 ? "vec2u" : "u32"),
  load(array, index, width) {
    if (width === 4) return `unpack4(${array}[${index}])`;
    return width === 2 ? `unpack2x16float(${array}[${index}])` : `unpack1(${array}[(${index}) / 2u], ${index})`;
  },
};

/** The loader of a dtype. @throws {ShapeError} for integers. */
export function loaderOf(dtype: DType): Loader {
  if (dtype === "f32") return f32Loader;
  if (dtype === "f16") return f16Loader;
  throw new ShapeError(`matmul: operands are f32 or f16, got ${dtype}; gather rows or cast the ids instead.`);
}

/** How one operand is read. */
export interface Reading {
  readonly loader: Loader;
  /** Values that one load brings; they lie along the operand's contiguous axis. */
  readonly width: Width;
  /** Which axis that is: that of the sum, or the edge that the operand shares with the result (M of A, N of B). */
  readonly contiguous: "k" | "edge";
}

/** What a kernel's text depends on besides its tile. */
export interface Formats {
  readonly a: Reading;
  readonly b: Reading;
  readonly bias: Loader;
  /** Values of the result stored at a time. */
  readonly out: Width;
}

/**
 * The numbers of one dispatch. It computes the block C[M,N] whose first element is `c0` and whose rows are `ldc` apart;
 * likewise for A and B. Workgroups with z = i sum over k in [i·chunk, (i+1)·chunk) and write to plane i of C.
 */
export interface Sizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly lda: number;
  readonly ldb: number;
  readonly ldc: number;
  readonly a0: number;
  readonly b0: number;
  readonly c0: number;
  readonly chunk: number;
  /** Elements from one plane of C to the next. */
  readonly plane: number;
  /** Tiles along N, and in all. */
  readonly across: number;
  readonly tiles: number;
  /** Whether a bias is added, 0 or 1, and which element of it belongs to column 0. */
  readonly biased: number;
  readonly bias0: number;
}

const fields = [
  ...(["M", "N", "K", "lda", "ldb", "ldc", "a0", "b0", "c0"] as const),
  ...(["chunk", "plane", "across", "tiles", "biased", "bias0"] as const),
];

/** The words of the uniform. */
export const words = (sizes: Sizes): number[] => fields.map((field) => sizes[field]);

/** Functions that the loaders call. */
const helpers = `
fn unpack1(word: u32, index: u32) -> f32 { let pair = unpack2x16float(word); return select(pair.x, pair.y, (index & 1u) == 1u); }
fn unpack4(words: vec2u) -> vec4f { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }`;

/** `biasOf(column)`, which is 0 where there is no bias. */
const biasOf = (bias: Loader): string =>
  `fn biasOf(column: u32) -> f32 { if (s.biased == 0u) { return 0.0; } return ${bias.load("bias", "s.bias0 + column", 1)}; }`;

/**
 * Bindings, uniform and functions of a product. A bias is always bound, so that products with and without one share a
 * text: where there is none, any buffer stands in its place and is not read.
 */
export const prologue = ({ a, b, bias, out }: Formats): string => `
struct Sizes { ${fields.map((field) => `${field}: u32`).join(", ")} }
@group(0) @binding(0) var<storage, read> a: array<${a.loader.element(a.width)}>;
@group(0) @binding(1) var<storage, read> b: array<${b.loader.element(b.width)}>;
@group(0) @binding(2) var<storage, read> bias: array<${bias.element(1)}>;
@group(0) @binding(3) var<storage, read_write> c: array<${vector(out)}>;
@group(0) @binding(4) var<uniform> s: Sizes;${helpers}
${biasOf(bias)}
`;

/** The biases of `out` columns, the first of which is `column`. */
export const biases = (out: Width, column: string): string =>
  out === 1
    ? `biasOf(${column})`
    : `${vector(out)}(${range(out)
        .map((i) => `biasOf(${column} + ${i}u)`)
        .join(", ")})`;

/**
 * Adds up the planes of a product whose sum was cut, in their order, and the bias:
 * c[i] = (keep ? c[i] : 0) + Σ_p planes[p · count + i] + bias[i mod N]. The uniform is [count, planes, N, biased, bias0, keep].
 */
export const sumKernel = (bias: Loader, width: Width): Kernel => ({
  label: "matmul sum",
  code: `
struct Sizes { count: u32, planes: u32, N: u32, biased: u32, bias0: u32, keep: u32 }
@group(0) @binding(0) var<storage, read> planes: array<${vector(width)}>;
@group(0) @binding(1) var<storage, read> bias: array<${bias.element(1)}>;
@group(0) @binding(2) var<storage, read_write> c: array<${vector(width)}>;
@group(0) @binding(3) var<uniform> s: Sizes;${helpers}
${biasOf(bias)}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let i = thread.x + thread.y * grid.x * 64u;
  if (i >= s.count / ${width}u) { return; }
  let column = i * ${width}u % s.N;
  var sum = ${vector(width)}();
  if (s.keep != 0u) { sum = c[i]; }
  for (var p = 0u; p < s.planes; p++) { sum += planes[p * (s.count / ${width}u) + i]; }
  c[i] = sum + ${biases(width, "column")};
}`,
});
