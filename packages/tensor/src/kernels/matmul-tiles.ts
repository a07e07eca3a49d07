/**
 * @file Matrix products for GPUs: a workgroup brings panels of both operands to shared memory, and each of its threads
 * computes a small rectangle of the tile in registers. Needs no optional feature: it is right on any WebGPU device.
 */
import { biases, component, type Formats, functions, type Reading, repeat, vector, vectorOf } from "./matmul-parts.ts";
import { GROUP, MAIN, wgsl } from "./wgsl.ts";

/** A tile of the result, computed by one workgroup. */
export interface SharedTile {
  readonly rows: number;
  readonly columns: number;
  /** Values of k in shared memory at a time. K need not be a multiple. */
  readonly depth: number;
  /** Rows and columns of one thread; the columns are a multiple of 4. */
  readonly perThread: readonly [rows: number, columns: number];
}

/** One operand of the tile. */
interface Side extends Reading {
  readonly name: "a" | "b";
  /** The axis it shares with the result, the tile's length there, and the name of where the tile begins. */
  readonly axis: "M" | "N";
  readonly length: number;
  readonly start: "row0" | "col0";
}

/**
 * Fills a panel, laid out [depth, length] whatever the operand's layout, with zeros beyond the operand's ends.
 * Neighbouring threads read neighbouring vectors.
 */
function fill(side: Side, depth: number, threads: number): string {
  const { name, width, contiguous, loader, axis, length, start } = side;
  const [inner, outer] = contiguous === "k" ? [depth, length] : [length, depth];
  const vectors = inner / width;
  const [along, across] = [`number % ${vectors}u * ${width}u`, `number / ${vectors}u`];
  const [edge, q] = contiguous === "k" ? [across, along] : [along, across];
  const at =
    contiguous === "k" ? `(${start} + edge) * sizes.ld${name} + k + q` : `(k + q) * sizes.ld${name} + ${start} + edge`;
  const place = (i: number): string =>
    contiguous === "k" ? `(q + ${i}u) * ${length}u + edge` : `q * ${length}u + edge + ${i}u`;
  return wgsl`
    for (var number = thread; number < ${outer * vectors}u; number += ${threads}u) {
      let edge = ${edge};
      let q = ${q};
      var value = ${vector(width)}();
      if (${start} + edge < sizes.${axis} && k + q < end) {
        value = ${loader.load(name, `(sizes.${name}0 + ${at}) / ${width}u`, width)};
      }
      ${repeat(width, (i) => `${name}Panel[${place(i)}] = value${component(width, i)};`)}
    }`;
}

/** The text of one tile shape, for operands in the given formats. Sizes are those of `Sizes`. */
export function tilesText(tile: SharedTile, formats: Formats): string {
  const { rows, columns, depth, perThread } = tile;
  const { out } = formats;
  const [high, wide] = perThread;
  const across = columns / wide;
  const threads = (rows / high) * across;
  const a: Side = { ...formats.a, name: "a", axis: "M", length: rows, start: "row0" };
  const b: Side = { ...formats.b, name: "b", axis: "N", length: columns, start: "col0" };
  // A thread's columns come in fours, each beside those of the next thread: then threads that read a panel together read
  // neighbouring words.
  const quads = wide / 4;
  const column = (j: number): string => `x * 4u + ${j * across * 4}u`;
  const readB = (j: number): string =>
    `let b${j} = ${vectorOf([0, 1, 2, 3].map((i) => `bPanel[q * ${columns}u + ${column(j)} + ${i}u]`))};`;
  const multiply = (i: number): string => wgsl`
    let a${i} = aPanel[q * ${rows}u + y + ${i}u];
    ${repeat(quads, (j) => `c${i}_${j} = fma(vec4f(a${i}), b${j}, c${i}_${j});`)}`;
  const store = (j: number, part: number, i: number): string => {
    const values = [0, 1, 2, 3].slice(part * out, (part + 1) * out).map((v) => `c${i}_${j}${component(4, v)}`);
    return `if (row0 + y + ${i}u < sizes.M) { c[(c0 + (row0 + y + ${i}u) * sizes.ldc + col) / ${out}u] = ${vectorOf(values)} + add; }`;
  };
  const storeColumns = (j: number, part: number): string => wgsl`
    {
      let col = col0 + ${column(j)} + ${part * out}u;
      if (col < sizes.N) {
        let add = ${biases(out, "col")};
        ${repeat(high, (i) => store(j, part, i))}
      }
    }`;
  return wgsl`
    ${functions(formats.bias)}
    var<workgroup> aPanel: array<f32, ${depth * rows}>;
    var<workgroup> bPanel: array<f32, ${depth * columns}>;
    @compute @workgroup_size(${threads})
    fn main(${MAIN}) {
      let tile = ${GROUP};
      if (tile >= sizes.tiles) { return; }
      let row0 = tile / sizes.across * ${rows}u;
      let col0 = tile % sizes.across * ${columns}u;
      let c0 = sizes.c0 + group.z * sizes.plane;
      let x = thread % ${across}u;
      let y = thread / ${across}u * ${high}u;
      ${repeat(high, (i) => repeat(quads, (j) => `var c${i}_${j} = vec4f();`, " "))}
      let end = min((group.z + 1u) * sizes.chunk, sizes.K);
      for (var k = group.z * sizes.chunk; k < end; k += ${depth}u) {
        ${fill(a, depth, threads)}
        ${fill(b, depth, threads)}
        workgroupBarrier();
        for (var q = 0u; q < ${depth}u; q++) {
          ${repeat(quads, readB)}
          ${repeat(high, multiply)}
        }
        workgroupBarrier();
      }
      ${repeat(quads, (j) => repeat(4 / out, (part) => storeColumns(j, part)))}
    }`;
}
