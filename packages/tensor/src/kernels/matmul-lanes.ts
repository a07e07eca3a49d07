/**
 * @file Matrix products for an adapter that is a CPU in disguise: one subgroup computes one tile of the result.
 *
 * There a load is carried out lane by lane, a shuffle costs next to nothing and a barrier costs dearly. So every value
 * of the tile's two panels is loaded once, by one lane. One operand is *spread*: the lanes stand side by side along its
 * edge, and each keeps its own values. The other is *shared*: `subgroupShuffle` hands its values round, which takes up to
 * 8 % less time than `subgroupBroadcast`. There is no shared memory and no barrier.
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
  type Width,
} from "./matmul-parts.ts";
import { wgsl } from "./wgsl.ts";

/** A tile of the result, computed by one subgroup. */
export interface LanesTile {
  readonly rows: number;
  readonly columns: number;
  /** Values of k in one turn of the loop, and whether K may be no multiple of it. */
  readonly depth: number;
  readonly ragged: boolean;
  /** The axis of the result that the lanes stand along: B is spread along N, A along M. */
  readonly along: "M" | "N";
}

/** A panel of one operand: text before the loop and in it, and the name of every value it provides. */
interface Panel {
  readonly before: string;
  /** Text that reads the scales of codes, where they stay the same from k = `part` on. */
  readonly scales: string;
  readonly loads: string;
  /** The value at place `at` of the edge and k + q; of a spread operand, those of group `at`. */
  value(at: number, q: number): string;
}

const integers = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Index of the vector at place `at` of the edge and k = 0. What lies beyond the edge reads the last one instead. */
function pointer({ name, width, contiguous, axis, start }: Side, at: string): string {
  return contiguous === "k"
    ? `(${name}0 + min(${start} + ${at}, sizes.${axis} - 1u) * sizes.ld${name}) / ${width}u`
    : `(${name}0 + min(${start} + ${at}, sizes.${axis} - ${width}u)) / ${width}u`;
}

/** How far apart vectors are that follow each other along k, and how many values of k one vector has. */
const alongK = ({ name, width, contiguous }: Side): { readonly step: string; readonly values: number } =>
  contiguous === "k" ? { step: "1u", values: width } : { step: `(sizes.ld${name} / ${width}u)`, values: 1 };

/** Where k stands, in vectors from `pointer`. */
function atK(side: Side): string {
  const { step, values } = alongK(side);
  return `let ${side.name}K = k / ${values}u * ${step};`;
}

/** A vector in memory: its index, the first k that its values belong to, counted from the loop's, and its number. */
interface Place {
  readonly index: string;
  readonly q: string;
  readonly number: number;
}

/** One load. In the last turn of a ragged sum it may be beyond its end; then it counts as zeros, whatever was read there. */
function loaded(side: Side, { ragged, codes }: Operand, place: Place): string {
  const { name, width, loader } = side;
  const { index, q } = place;
  const load = codes === null ? loader.load(name, index, width) : codes.load(index, width, scaleAt(side, codes, place));
  return ragged ? `select(${vector(width)}(), ${load}, k + ${q} < end)` : load;
}

/** What loading an operand depends on besides its side. */
interface Operand {
  readonly depth: number;
  readonly ragged: boolean;
  readonly codes: CodesText | null;
}

/**
 * Text that reads the scales of codes which stay the same from k = `part` on. Along k each of `count` vectors has its own;
 * along the edge all vectors of one k share theirs, so each lane reads that of another k.
 */
function readScales({ name, width, contiguous, steady }: Side, codes: CodesText | null, count: number): string {
  if (codes === null || steady === 0) return "";
  if (contiguous === "edge")
    return `let ${name}Scales = ${codes.scale(`min(part + lane, end - 1u) * sizes.ld${name} + col0`, "min(part + lane, end - 1u)")};\n`;
  const scale = (at: string): string => codes.scale(`${at} * ${width}u + part`, `${at} * ${width}u / sizes.ld${name}`);
  return `${repeat(count, (i) => `let ${name}Scale${i} = ${scale(`${name}At${i}`)};`)}\n`;
}

/** The scale of the codes of one vector: one of those read before, or read at once. */
function scaleAt({ name, width, contiguous, steady }: Side, codes: CodesText, { index, q, number }: Place): string {
  if (steady === 0) return codes.scale(`(${index}) * ${width}u`, `k + ${q}`);
  return contiguous === "k" ? `${name}Scale${number}` : `subgroupShuffle(${name}Scales, k - part + ${q})`;
}

/** The spread operand, in `groups` of one vector a lane; `place(j)` is where a lane's vector of group j stands. */
function spread(side: Side, operand: Operand, groups: number, place: (j: number) => string): Panel {
  const { name, width } = side;
  const { depth, codes } = operand;
  const { step, values } = alongK(side);
  const load = (j: number, i: number): string =>
    `let ${name}${j}_${i} = ${loaded(side, operand, {
      index: `${name}At${j} + ${name}K + ${i}u * ${step}`,
      q: `${i * values}u`,
      number: j,
    })};`;
  return {
    before: repeat(groups, (j) => `let ${name}At${j} = ${pointer(side, place(j))};`),
    scales: readScales(side, codes, groups),
    loads: `${atK(side)}\n${repeat(depth / values, (i) => repeat(groups, (j) => load(j, i)))}`,
    value: (j, q) => `${name}${j}_${Math.floor(q / values)}${values > 1 ? component(width, q % values) : ""}`,
  };
}

/** The shared operand: its vectors are numbered along the edge first and dealt to the lanes in turn. */
function shared(side: Side, operand: Operand, lanes: number): Panel {
  const { name, width, length } = side;
  const { depth, codes } = operand;
  const { step, values } = alongK(side);
  const perEdge = width / values;
  const across = length / perEdge;
  const vectors = (across * depth) / values;
  const deals = Math.ceil(vectors / lanes);
  const deal = (i: number): string => wgsl`
    let ${name}Number${i} = (lane + ${i * lanes}u) % ${vectors}u;
    let ${name}Q${i} = ${name}Number${i} / ${across}u;
    let ${name}At${i} = ${pointer(side, `${name}Number${i} % ${across}u * ${perEdge}u`)} + ${name}Q${i} * ${step};`;
  const load = (i: number): string =>
    `let ${name}${i} = ${loaded(side, operand, {
      index: `${name}At${i} + ${name}K`,
      q: `${name}Q${i} * ${values}u`,
      number: i,
    })};`;
  return {
    before: repeat(deals, deal),
    scales: readScales(side, codes, deals),
    loads: `${atK(side)}\n${repeat(deals, load)}`,
    value(at, q) {
      const number = Math.floor(q / values) * across + Math.floor(at / perEdge);
      const part = component(width, (q % values) + (at % perEdge));
      return `subgroupShuffle(${name}${Math.floor(number / lanes)}${part}, ${number % lanes}u)`;
    },
  };
}

/** The text of one tile shape, for operands in the given formats. Sizes are those of `Sizes`. */
export function lanesText(tile: LanesTile, formats: Formats, lanes: number): string {
  const { rows, columns, depth, along } = tile;
  const { out } = formats;
  const [a, b] = sidesOf(tile, formats);
  const [own, other] = along === "N" ? [b, a] : [a, b];
  // A lane's sums come in vectors where its values do. Single sums along N stand so that `out` of them, side by side, can
  // be stored as one vector.
  const held: Width = own.contiguous === "edge" ? own.width : 1;
  const groups = own.length / (lanes * held);
  const side = along === "N" && held === 1 ? out : 1;
  const place = (j: number): string =>
    `(lane * ${held * side}u + ${Math.floor(j / side) * side * held * lanes + (j % side)}u)`;
  const codes = b.loader.encoding === undefined ? null : codesText("b", b.loader.encoding, { lanes });
  const operand = (s: Side): Operand => ({ ...tile, codes: s.name === "b" ? codes : null });
  const mine = spread(own, operand(own), groups, place);
  const theirs = shared(other, operand(other), lanes);
  const products = (p: number): string => {
    const values = integers(depth).map((q) => `let x${q} = ${theirs.value(p, q)};`);
    const sums = integers(groups).flatMap((j) =>
      integers(depth).map((q) => `c${p}_${j} += x${q} * ${mine.value(j, q)};`),
    );
    return `{ ${[...values, ...sums].join(" ")} }`;
  };
  const turn = wgsl`
    ${theirs.loads}
    ${mine.loads}
    ${repeat(other.length, products)}`;
  const turns = loop(`${mine.scales}${theirs.scales}`, turn, { depth, steady: b.steady });
  return wgsl`
    ${functions(formats.bias)}
    ${codes?.declarations ?? ""}
    @compute @workgroup_size(${lanes})
    fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
      ${origin(rows, columns)}
      ${codes?.prepare ?? ""}
      ${mine.before}
      ${theirs.before}
      ${repeat(other.length, (p) => repeat(groups, (j) => `var c${p}_${j} = ${vector(held)}();`, " "))}
      ${turns}
      ${along === "N" ? storeRows(out, held, groups, rows, place) : storeColumns(out, held, groups, columns, place)}
    }`;
}

/** All turns of the sum; before the first of those that share their scales, `scales` reads them. */
function loop(
  scales: string,
  turn: string,
  { depth, steady }: { readonly depth: number; readonly steady: number },
): string {
  const turns = (from: string, to: string): string => wgsl`
    for (var k = ${from}; k < ${to}; k += ${depth}u) {
      ${turn}
    }`;
  if (steady === 0) return turns("begin", "end");
  if (steady === Infinity)
    return wgsl`
      let part = begin;
      ${scales}
      ${turns("part", "end")}`;
  return wgsl`
    for (var part = begin; part < end; part += ${steady}u) {
      ${scales}
      let stop = min(part + ${steady}u, end);
      ${turns("part", "stop")}
    }`;
}

/**
 * Lanes along N: each stores its columns of every row, as vectors that it holds or makes of sums side by side. Rows
 * beyond the last repeat its sums and are stored over it: a branch for each would double the time to compile.
 */
function storeRows(out: Width, held: Width, groups: number, rows: number, place: (j: number) => string): string {
  const sums = held === 1 ? out : 1;
  const value = (p: number, g: number): string => vectorOf(integers(sums).map((i) => `c${p}_${g * sums + i}`));
  const store = (p: number, g: number): string =>
    `c[(c0 + min(row0 + ${p}u, sizes.M - 1u) * sizes.ldc + col) / ${out}u] = ${value(p, g)} + add;`;
  return repeat(
    groups / sums,
    (g) => wgsl`
      {
        let col = col0 + ${place(g * sums)};
        if (col < sizes.N) {
          let add = ${biases(out, "bias0 + col")};
          ${repeat(rows, (p) => store(p, g))}
        }
      }`,
  );
}

/** Lanes along M: each stores its rows; neighbours along N are different sums, and those beyond the last repeat it. */
function storeColumns(out: Width, held: Width, groups: number, columns: number, place: (j: number) => string): string {
  const value = (n: number, j: number, x: number): string =>
    vectorOf(integers(out).map((i) => `c${n * out + i}_${j}${component(held, x)}`));
  const store = (n: number, j: number, x: number): string =>
    `c[(c0 + row * sizes.ldc + at${n}) / ${out}u] = ${value(n, j, x)} + add${n};`;
  const row = (j: number, x: number): string => wgsl`
    {
      let row = row0 + ${place(j)} + ${x}u;
      if (row < sizes.M) {
        ${repeat(columns / out, (n) => store(n, j, x))}
      }
    }`;
  return wgsl`
    ${repeat(columns / out, (n) => `let at${n} = min(col0 + ${n * out}u, sizes.N - ${out}u); let add${n} = ${biases(out, `bias0 + at${n}`)};`)}
    ${repeat(groups, (j) => repeat(held, (x) => row(j, x)))}`;
}
