/** @file What every matrix product kernel is made of: operand loaders, formats, sizes, and the bias. */
import type { DType } from "../dtype.ts";
import type { Encoding } from "../encoding.ts";
import { ShapeError } from "../errors.ts";
import { GROUP, wgsl } from "./wgsl.ts";

/** Consecutive values that one load or store moves. */
export type Width = 1 | 2 | 4;

/** The widest of 4, 2 and 1 that is at most `most` and divides every length. */
export function widthFor(most: number, ...lengths: readonly number[]): Width {
  const fits = (width: number): boolean => width <= most && lengths.every((n) => n % width === 0);
  return fits(4) ? 4 : fits(2) ? 2 : 1;
}

/** WGSL type of `width` values. */
export const vector = (width: Width): string => (width === 1 ? "f32" : `vec${width}f`);

/** WGSL of a vector made of its values. */
export const vectorOf = (values: readonly string[]): string =>
  values.length === 1 ? values.join() : `vec${values.length}f(${values.join(", ")})`;

/** WGSL selector of value i in a vector of `width`. */
export const component = (width: Width, i: number): string => (width === 1 ? "" : `.${"xyzw".charAt(i)}`);

/** `text(0)`, `text(1)`, …, `text(n − 1)`, one a line unless told otherwise. */
export const repeat = (n: number, text: (i: number) => string, separator = "\n"): string =>
  Array.from({ length: n }, (_, i) => text(i)).join(separator);

/**
 * How an operand's values are read from its buffer. A kernel takes one for each operand and knows nothing else of the
 * storage: another format is another loader.
 */
export interface Loader {
  /** WGSL type of the array's elements when `width` values are read at a time. */
  element(width: Width): string;
  /** WGSL expression, of type `vector(width)`, of the values at `width * index` of the array. */
  load(array: string, index: string, width: Width): string;
  /** Where values are codes: kernels then load them by `codesText`. */
  readonly encoding?: Encoding;
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
  throw new ShapeError(
    `matmul: operands are f32 or f16, got ${dtype}; cast it, or gather rows instead of multiplying.`,
  );
}

/** The loader of codes. */
export const codesLoader = (encoding: Encoding): Loader => ({ ...f32Loader, encoding });

/** How one operand is read. */
export interface Reading {
  readonly loader: Loader;
  /** Values that one load brings; they lie along the operand's contiguous axis. */
  readonly width: Width;
  /** Which axis that is: that of the sum, or the edge that the operand shares with the result (M of A, N of B). */
  readonly contiguous: "k" | "edge";
  /** Of codes: terms of the sum for which scales are read once, all of them (Infinity), or 0: each load reads its own. */
  readonly steady: number;
}

/** What a kernel's text depends on besides its tile. */
export interface Formats {
  readonly a: Reading;
  readonly b: Reading;
  readonly bias: Loader;
  /** Values of the result stored at a time. */
  readonly out: Width;
}

/** One operand in a tile: names in the text, and how it is read. */
export interface Side extends Reading {
  readonly name: "a" | "b";
  /** The axis it shares with the result, the tile's length there, and the name of where the tile begins. */
  readonly axis: "M" | "N";
  readonly length: number;
  readonly start: "row0" | "col0";
}

/** Both operands in a tile. */
export const sidesOf = (tile: { readonly rows: number; readonly columns: number }, { a, b }: Formats): [Side, Side] => [
  { ...a, name: "a", axis: "M", length: tile.rows, start: "row0" },
  { ...b, name: "b", axis: "N", length: tile.columns, start: "col0" },
];

/**
 * Sizes of one dispatch: fields of the uniform. It computes the block C[M,N] that begins at element `c0` and has rows
 * `ldc` apart; likewise for A and B. Workgroups with z = item · planes + i sum over k in [i · chunk, (i + 1) · chunk) and
 * write plane i of C, `plane` elements apart. Of products side by side, what belongs to an item begins `aStep`, `bStep`,
 * `cStep` and `biasStep` elements after what belongs to the one before. There are `across` tiles along N, `tiles` in all. A
 * bias is added if `biased` is 1; element `bias0` of it belongs to column 0. Of codes, the first that are bound have the
 * scale numbered `scale0`.
 */
export type Sizes = Readonly<
  Record<"M" | "N" | "K" | "lda" | "ldb" | "ldc" | "a0" | "b0" | "c0" | "chunk" | "plane", number> &
    Record<"planes" | "aStep" | "bStep" | "cStep" | "biasStep" | "across" | "tiles" | "biased" | "bias0", number> & {
      scale0?: number;
    }
>;

/** Tells a workgroup where its tile is, where its item begins in every operand, and which terms it sums: k in [begin, end). */
export const origin = (rows: number, columns: number): string => wgsl`
  let number = ${GROUP};
  if (number >= sizes.tiles) { return; }
  let row0 = number / sizes.across * ${rows}u;
  let col0 = number % sizes.across * ${columns}u;
  let item = group.z / sizes.planes;
  let a0 = sizes.a0 + item * sizes.aStep;
  let b0 = sizes.b0 + item * sizes.bStep;
  let c0 = sizes.c0 + item * sizes.cStep + group.z % sizes.planes * sizes.plane;
  let bias0 = sizes.bias0 + item * sizes.biasStep;
  let begin = group.z % sizes.planes * sizes.chunk;
  let end = min(begin + sizes.chunk, sizes.K);`;

/**
 * Functions of every product. A bias is always bound, so that products with and without one share a text: where there is
 * none, any buffer stands in its place and is not read.
 */
export const functions = (bias: Loader): string => wgsl`
  fn unpack1(word: u32, index: u32) -> f32 {
    let pair = unpack2x16float(word);
    return select(pair.x, pair.y, (index & 1u) == 1u);
  }
  fn unpack4(words: vec2u) -> vec4f {
    return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
  }
  fn biasOf(at: u32) -> f32 {
    if (sizes.biased == 0u) { return 0.0; }
    return ${bias.load("bias", "at", 1)};
  }`;

/** The biases of `width` columns, from element `at` on. */
export const biases = (width: Width, at: string): string =>
  vectorOf([0, 1, 2, 3].slice(0, width).map((i) => `biasOf(${at} + ${i}u)`));
