/**
 * @file Matrix products for an adapter that is a CPU in disguise: one subgroup computes one tile of the result.
 *
 * There a load is carried out lane by lane, a shuffle costs next to nothing and a barrier costs dearly. So every value
 * of the tile's two panels is loaded once, by one lane. One operand is *spread*: the lanes stand side by side along its
 * edge, and each keeps its own values. The other is *shared*: `subgroupBroadcast` hands its values round. There is no
 * shared memory and no barrier.
 */
import type { Kernel } from "./kernel.ts";
import { type Formats, type Reading, type Width, biases, component, prologue, range, vector } from "./matmul-parts.ts";

/** A tile of the result, computed by one subgroup. */
export interface LanesTile {
  readonly rows: number;
  readonly columns: number;
  /** Values of k in one turn of the loop. K is a multiple of it. */
  readonly depth: number;
  /** The axis of the result that the lanes stand along: B is spread along N, A along M. */
  readonly along: "M" | "N";
}

/** One operand of the tile. */
interface Side extends Reading {
  readonly name: "a" | "b";
  /** The axis it shares with the result, the tile's length there, and the name of where the tile begins. */
  readonly axis: "M" | "N";
  readonly length: number;
  readonly start: string;
}

/** A panel of one operand: text before the loop and in it, and the name of every value it provides. */
interface Panel {
  readonly before: string;
  readonly loads: string;
  /** The value or values at place `at` of the edge and k + q. */
  value(at: number, q: number): string;
}

const join = (parts: readonly string[]): string => parts.join("\n");

/** Index of the vector at place `at` of the edge and k = 0. What lies beyond the edge reads the last one instead. */
function pointer({ name, width, contiguous, axis, start }: Side, at: string): string {
  return contiguous === "k"
    ? `(s.${name}0 + min(${start} + ${at}, s.${axis} - 1u) * s.ld${name}) / ${width}u`
    : `(s.${name}0 + min(${start} + ${at}, s.${axis} - ${width}u)) / ${width}u`;
}

/** How far apart vectors are that follow each other along k, and how many values of k one vector has. */
const alongK = ({ name, width, contiguous }: Side): { readonly step: string; readonly values: number } =>
  contiguous === "k" ? { step: "1u", values: width } : { step: `(s.ld${name} / ${width}u)`, values: 1 };

/** Where k stands, in vectors from `pointer`. */
const atK = (side: Side): string => {
  const { step, values } = alongK(side);
  return `let ${side.name}K = k / ${values}u * ${step};`;
};

/** The spread operand, in `groups` of one vector a lane; `place(j)` is where a lane's vector of group j stands. */
function spread(side: Side, depth: number, groups: number, place: (j: number) => string): Panel {
  const { name, width, loader } = side;
  const { step, values } = alongK(side);
  const load = (j: number, i: number): string =>
    `let ${name}${j}_${i} = ${loader.load(name, `${name}At${j} + ${name}K + ${i}u * ${step}`, width)};`;
  return {
    before: join(range(groups).map((j) => `let ${name}At${j} = ${pointer(side, place(j))};`)),
    loads: join([atK(side), ...range(depth / values).flatMap((i) => range(groups).map((j) => load(j, i)))]),
    value: (j, q) => `${name}${j}_${Math.floor(q / values)}${values > 1 ? component(width, q % values) : ""}`,
  };
}

/** The shared operand: its vectors are numbered along the edge first and dealt to the lanes in turn. */
function shared(side: Side, depth: number, lanes: number): Panel {
  const { name, width, loader, length } = side;
  const { step, values } = alongK(side);
  const perEdge = width / values;
  const across = length / perEdge;
  const vectors = (across * depth) / values;
  const deals = range(Math.ceil(vectors / lanes));
  const deal = (i: number): string => `let ${name}Unit${i} = (lane + ${i * lanes}u) % ${vectors}u;
let ${name}At${i} = ${pointer(side, `${name}Unit${i} % ${across}u * ${perEdge}u`)} + ${name}Unit${i} / ${across}u * ${step};`;
  return {
    before: join(deals.map(deal)),
    loads: join([
      atK(side),
      ...deals.map((i) => `let ${name}${i} = ${loader.load(name, `${name}At${i} + ${name}K`, width)};`),
    ]),
    value(at, q) {
      const unit = Math.floor(q / values) * across + Math.floor(at / perEdge);
      const part = component(width, (q % values) + (at % perEdge));
      return `subgroupBroadcast(${name}${Math.floor(unit / lanes)}${part}, ${unit % lanes}u)`;
    },
  };
}

/** The kernel of one tile shape, for operands in the given formats. */
export function lanesKernel(label: string, tile: LanesTile, formats: Formats, lanes: number): Kernel {
  const { rows, columns, depth, along } = tile;
  const a: Side = { ...formats.a, name: "a", axis: "M", length: rows, start: "row0" };
  const b: Side = { ...formats.b, name: "b", axis: "N", length: columns, start: "col0" };
  const [own, other] = along === "N" ? [b, a] : [a, b];
  // A lane's sums come in vectors where its values do. Along N, single sums lie side by side so that `out` of them can
  // be stored as one vector.
  const held: Width = own.contiguous === "edge" ? own.width : 1;
  const groups = own.length / (lanes * held);
  const side = along === "N" && held === 1 ? formats.out : 1;
  const place = (j: number): string =>
    `(lane * ${held * side}u + ${Math.floor(j / side) * side * held * lanes + (j % side)}u)`;
  const mine = spread(own, depth, groups, place);
  const theirs = shared(other, depth, lanes);
  const products = (p: number): string => {
    const values = range(depth).map((q) => `let x${q} = ${theirs.value(p, q)};`);
    const sums = range(groups).flatMap((j) => range(depth).map((q) => `c${p}_${j} += x${q} * ${mine.value(j, q)};`));
    return `{ ${[...values, ...sums].join(" ")} }`;
  };
  const code = `enable subgroups;
${prologue(formats)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
let tile = group.x + group.y * grid.x;
if (tile >= s.tiles) { return; }
let row0 = tile / s.across * ${rows}u;
let col0 = tile % s.across * ${columns}u;
${mine.before}
${theirs.before}
${join(
  range(other.length).map((p) =>
    range(groups)
      .map((j) => `var c${p}_${j} = ${vector(held)}();`)
      .join(" "),
  ),
)}
let end = min((group.z + 1u) * s.chunk, s.K);
for (var k = group.z * s.chunk; k < end; k += ${depth}u) {
${theirs.loads}
${mine.loads}
${join(range(other.length).map(products))}
}
let c0 = s.c0 + group.z * s.plane;
${along === "N" ? storeRows(formats.out, held, groups, rows, place) : storeColumns(formats.out, held, groups, columns, place)}
}`;
  return { label, code };
}

/**
 * Lanes along N: each stores its columns of every row, as vectors that it holds or makes of sums side by side. Rows
 * beyond the last repeat its sums, so they are stored over it: a branch for each would cost as much as the store.
 */
function storeRows(out: Width, held: Width, groups: number, rows: number, place: (j: number) => string): string {
  const sums = held === 1 ? out : 1;
  const value = (p: number, g: number): string =>
    sums === 1
      ? `c${p}_${g}`
      : `${vector(out)}(${range(sums)
          .map((i) => `c${p}_${g * sums + i}`)
          .join(", ")})`;
  const group = (g: number): string => `{
let col = col0 + ${place(g * sums)};
if (col < s.N) {
let add = ${biases(out, "col")};
${join(range(rows).map((p) => `c[(c0 + min(row0 + ${p}u, s.M - 1u) * s.ldc + col) / ${out}u] = ${value(p, g)} + add;`))}
}
}`;
  return join(range(groups / sums).map(group));
}

/** Lanes along M: each stores its rows; neighbours along N are different sums, and those beyond the last repeat it. */
function storeColumns(out: Width, held: Width, groups: number, columns: number, place: (j: number) => string): string {
  const value = (n: number, j: number, x: number): string =>
    `${vector(out)}(${range(out)
      .map((i) => `c${n * out + i}_${j}${component(held, x)}`)
      .join(", ")})`;
  const column = (n: number): string => `min(col0 + ${n * out}u, s.N - ${out}u)`;
  const row = (j: number, x: number): string => `{
let row = row0 + ${place(j)} + ${x}u;
if (row < s.M) {
${join(range(columns / out).map((n) => `c[(c0 + row * s.ldc + ${column(n)}) / ${out}u] = ${value(n, j, x)} + add${n};`))}
}
}`;
  const adds = range(columns / out).map((n) => `let add${n} = ${biases(out, column(n))};`);
  return join([...adds, ...range(groups).flatMap((j) => range(held).map((x) => row(j, x)))]);
}
