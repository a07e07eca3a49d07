/**
 * @file Matrix products for GPUs: a workgroup brings panels of both operands to shared memory, and each of its threads
 * computes a small rectangle of the tile in registers. Needs no optional feature: it is right on any WebGPU device.
 */
import type { Kernel } from "./kernel.ts";
import { type Formats, type Reading, biases, component, prologue, range, vector } from "./matmul-parts.ts";

/** A tile of the result, computed by one workgroup. */
export interface SharedTile {
  readonly rows: number;
  readonly columns: number;
  /** Values of k in shared memory at a time. K need not be a multiple. */
  readonly depth: number;
  /** Rows and columns of one thread; the columns are a multiple of 4. */
  readonly perThread: readonly [number, number];
}

/** One operand of the tile. */
interface Side extends Reading {
  readonly name: "a" | "b";
  readonly axis: "M" | "N";
  readonly length: number;
  readonly start: string;
}

const join = (parts: readonly string[]): string => parts.join("\n");

/**
 * WGSL that fills a panel, laid out [depth, length] whatever the operand's layout, with zeros beyond the operand's end.
 * Neighbouring threads read neighbouring vectors.
 */
function fill(side: Side, depth: number, threads: number): string {
  const { name, width, contiguous, loader, axis, length, start } = side;
  const lines = contiguous === "k" ? length : depth; // rows of the operand in the panel
  const vectors = (contiguous === "k" ? depth : length) / width; // vectors in each of them
  const count = lines * vectors;
  const [edge, q] = contiguous === "k" ? ["unit / V", "unit % V * W"] : ["unit % V * W", "unit / V"];
  const at = (expression: string): string => expression.replaceAll("V", `${vectors}u`).replaceAll("W", `${width}u`);
  const target = (i: number): string =>
    contiguous === "k"
      ? `panel_${name}[(q + ${i}u) * ${length}u + edge]`
      : `panel_${name}[q * ${length}u + edge + ${i}u]`;
  const index =
    contiguous === "k" ? `(${start} + edge) * s.ld${name} + k + q` : `(k + q) * s.ld${name} + ${start} + edge`;
  return `for (var unit = thread; unit < ${count}u; unit += ${threads}u) {
let edge = ${at(edge)};
let q = ${at(q)};
var value = ${vector(width)}();
if (${start} + edge < s.${axis} && k + q < end) { value = ${loader.load(name, `(s.${name}0 + ${index}) / ${width}u`, width)}; }
${join(range(width).map((i) => `${target(i)} = value${component(width, i)};`))}
}`;
}

/** The kernel of one tile shape, for operands in the given formats. */
export function tilesKernel(label: string, tile: SharedTile, formats: Formats): Kernel {
  const { rows, columns, depth, perThread } = tile;
  const [high, wide] = perThread;
  const threadColumns = columns / wide;
  const threads = (rows / high) * threadColumns;
  const a: Side = { ...formats.a, name: "a", axis: "M", length: rows, start: "row0" };
  const b: Side = { ...formats.b, name: "b", axis: "N", length: columns, start: "col0" };
  const quads = wide / 4;
  const { out } = formats;
  // A thread's columns come in fours, each four beside those of the next thread, so that reads of a panel meet no bank twice.
  const column = (j: number): string => `x * 4u + ${j * threadColumns * 4}u`;
  const quad = (j: number): string => {
    const at = `q * ${columns}u + ${column(j)}`;
    return `let b${j} = vec4f(${range(4)
      .map((i) => `panel_b[${at} + ${i}u]`)
      .join(", ")});`;
  };
  const stores = range(quads).flatMap((j) =>
    range(4 / out).map((part) => {
      const values = (i: number): string => {
        const parts = range(out).map((v) => `c${i}_${j}${component(4, part * out + v)}`);
        return `${vector(out)}(${parts.join(", ")})`;
      };
      return `{
let col = col0 + ${column(j)} + ${part * out}u;
if (col < s.N) {
let add = ${biases(out, "col")};
${join(range(high).map((i) => `if (row0 + y + ${i}u < s.M) { c[(c0 + (row0 + y + ${i}u) * s.ldc + col) / ${out}u] = ${values(i)} + add; }`))}
}
}`;
    }),
  );
  const code = `${prologue(formats)}
var<workgroup> panel_a: array<f32, ${depth * rows}>;
var<workgroup> panel_b: array<f32, ${depth * columns}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) thread: u32) {
let tile = group.x + group.y * grid.x;
if (tile >= s.tiles) { return; }
let row0 = tile / s.across * ${rows}u;
let col0 = tile % s.across * ${columns}u;
let x = thread % ${threadColumns}u;
let y = thread / ${threadColumns}u * ${high}u;
${join(
  range(high).map((i) =>
    range(quads)
      .map((j) => `var c${i}_${j} = vec4f();`)
      .join(" "),
  ),
)}
let end = min((group.z + 1u) * s.chunk, s.K);
for (var k = group.z * s.chunk; k < end; k += ${depth}u) {
${fill(a, depth, threads)}
${fill(b, depth, threads)}
workgroupBarrier();
for (var q = 0u; q < ${depth}u; q++) {
${join(range(quads).map(quad))}
${join(
  range(high).map(
    (i) =>
      `{ let x0 = panel_a[q * ${rows}u + y + ${i}u]; ${range(quads)
        .map((j) => `c${i}_${j} = fma(vec4f(x0), b${j}, c${i}_${j});`)
        .join(" ")} }`,
  ),
)}
}
workgroupBarrier();
}
let c0 = s.c0 + group.z * s.plane;
${join(stores)}
}`;
  return { label, code };
}
