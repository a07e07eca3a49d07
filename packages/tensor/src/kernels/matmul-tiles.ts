/**
 * @file Matrix products for GPUs: a workgroup brings panels of both operands to shared memory, and each of its threads
 * computes a small rectangle of the tile in registers. Needs no optional feature: it is right on any WebGPU device.
 */
import { type CodesText, codesText } from "./codes.ts";
import {
  biases,
  component,
  type Formats,
  functions,
  origin,
  repeat,
  type Side,
  sidesOf,
  vector,
  vectorOf,
} from "./matmul-parts.ts";
import { MAIN, wgsl } from "./wgsl.ts";

/** A tile of the result, computed by one workgroup; its edges are multiples of 4. */
export interface SharedTile {
  readonly rows: number;
  readonly columns: number;
  /** Values of k in shared memory at a time. K need not be a multiple. */
  readonly depth: number;
}

/**
 * Fills a panel, laid out [depth, length] whatever the operand's layout, with zeros beyond the operand's ends.
 * Neighbouring threads read neighbouring vectors.
 */
function fill(side: Side, depth: number, threads: number, codes: CodesText | null): string {
  const { name, width, contiguous, loader, axis, length, start } = side;
  const [inner, outer] = contiguous === "k" ? [depth, length] : [length, depth];
  const vectors = inner / width;
  const [along, across] = [`item % ${vectors}u * ${width}u`, `item / ${vectors}u`];
  const [edge, q] = contiguous === "k" ? [across, along] : [along, across];
  const at =
    contiguous === "k" ? `(${start} + edge) * sizes.ld${name} + k + q` : `(k + q) * sizes.ld${name} + ${start} + edge`;
  const index = `(${name}0 + ${at}) / ${width}u`;
  const row = contiguous === "k" ? `${start} + edge` : "k + q";
  const value =
    codes === null ? loader.load(name, index, width) : codes.load(index, width, codes.scale(`${name}0 + ${at}`, row));
  const place = (i: number): string =>
    contiguous === "k" ? `(q + ${i}u) * ${length}u + edge` : `q * ${length}u + edge + ${i}u`;
  return wgsl`
    for (var item = thread; item < ${outer * vectors}u; item += ${threads}u) {
      let edge = ${edge};
      let q = ${q};
      var value = ${vector(width)}();
      if (${start} + edge < sizes.${axis} && k + q < end) {
        value = ${value};
      }
      ${repeat(width, (i) => `${name}Panel[${place(i)}] = value${component(width, i)};`)}
    }`;
}

/** The text of one tile shape, for operands in the given formats: 4×4 sums a thread. Sizes are those of `Sizes`. */
export function tilesText(tile: SharedTile, formats: Formats): string {
  const { rows, columns, depth } = tile;
  const { out } = formats;
  const threads = (rows / 4) * (columns / 4);
  const [a, b] = sidesOf(tile, formats);
  const codes = b.loader.encoding === undefined ? null : codesText("b", b.loader.encoding, "workgroup");
  const four = (text: (i: number) => string): string[] => [0, 1, 2, 3].map(text);
  const multiply = (i: number): string => `sum${i} = fma(vec4f(aPanel[q * ${rows}u + y + ${i}u]), right, sum${i});`;
  const store = (part: number, i: number): string => {
    const values = four((v) => `sum${i}${component(4, v)}`).slice(part * out, (part + 1) * out);
    return `if (row0 + y + ${i}u < sizes.M) { c[(c0 + (row0 + y + ${i}u) * sizes.ldc + col) / ${out}u] = ${vectorOf(values)} + add; }`;
  };
  const storeColumns = (part: number): string => wgsl`
    {
      let col = col0 + x + ${part * out}u;
      if (col < sizes.N) {
        let add = ${biases(out, "bias0 + col")};
        ${repeat(4, (i) => store(part, i))}
      }
    }`;
  return wgsl`
    ${functions(formats.bias)}
    ${codes?.declarations ?? ""}
    var<workgroup> aPanel: array<f32, ${depth * rows}>;
    var<workgroup> bPanel: array<f32, ${depth * columns}>;
    @compute @workgroup_size(${threads})
    fn main(${MAIN}) {
      ${origin(rows, columns)}
      let x = thread % ${columns / 4}u * 4u;
      let y = thread / ${columns / 4}u * 4u;
      ${codes?.prepare ?? ""}
      ${repeat(4, (i) => `var sum${i} = vec4f();`)}
      for (var k = begin; k < end; k += ${depth}u) {
        ${fill(a, depth, threads, null)}
        ${fill(b, depth, threads, codes)}
        workgroupBarrier();
        for (var q = 0u; q < ${depth}u; q++) {
          let right = ${vectorOf(four((i) => `bPanel[q * ${columns}u + x + ${i}u]`))};
          ${repeat(4, multiply)}
        }
        workgroupBarrier();
      }
      ${repeat(4 / out, storeColumns)}
    }`;
}
