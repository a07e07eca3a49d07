/**
 * @file Attention for CPU adapters: a lane owns rows, and the rows it meets are loaded once and broadcast.
 *
 * A workgroup is one subgroup. Each lane owns some rows of one side (queries, or keys in the gradient of k and v) with all E
 * values in registers, and the subgroup walks through the rows of the other side. A walked row is loaded spread over the
 * lanes; its values then go to all lanes by shuffles, first into the scores, then into the sums. Scores stand one in a
 * lane, so the softmax needs nothing from other lanes.
 *
 * Why so: on lavapipe a loaded float costs about ten instructions, a shuffle one. Here every value is loaded once and used in
 * every product it occurs in. Tiles of scores, which load operands again, took a quarter longer in the three kernels together
 * at E = 64, more than twice as long at E = 8, and twice as long to compile.
 */
import {
  type AttentionFamily,
  type AttentionText,
  firstQuery,
  indices,
  lastKey,
  noiseState,
  place,
  repeat,
  shown,
  textOfQuery,
} from "./attention-text.ts";
import { wgsl } from "./wgsl.ts";

/** The widest heads of this family: a lane holds four such rows in the gradient of k and v. */
export const LANES_WIDEST = 128;

/** How a kernel is cut. */
interface Cut {
  /** Subgroup size. */
  readonly lanes: number;
  /** Rows a lane owns. More of them share one load; too many spill to the stack and take seconds to compile. */
  readonly own: number;
  /** Walked rows of one trip of the loop. More of them share the cost of a trip; past 24 KB of machine code it gets slow. */
  readonly walk: number;
}

/** How a row of E floats lies in a subgroup: vector j of it is part ⌊j / lanes⌋ of lane j mod lanes. */
interface Spread {
  /** Floats of a vector. */
  readonly width: number;
  /** Vectors of a row. */
  readonly vectors: number;
  /** Vectors a lane holds; past the end of the row it holds the last one again. */
  readonly parts: number;
}

/** The spread with the cheapest loads: a vector costs half a float more than its floats. */
function spread(E: number, lanes: number): Spread {
  const spreads = [4, 2, 1]
    .filter((width) => E % width === 0)
    .map((width) => ({ width, vectors: E / width, parts: Math.ceil(E / width / lanes) }));
  const cost = ({ parts, width }: Spread): number => parts * (width + 0.5);
  return spreads.reduce((best, s) => (cost(s) < cost(best) ? s : best));
}

/**
 * Pieces of text that know where values are. Owned rows of x are x0, x1 …, with vectors x0_0, x0_1 …. The parts of a
 * walked row y are y_0, y_1 ….
 */
function pieces({ E }: AttentionText, { lanes, own }: Cut) {
  const { width, vectors, parts } = spread(E, lanes);
  const type = width === 1 ? "f32" : `vec${width}f`;
  const owned = (part: (i: number) => string, separator = "\n"): string => repeat(own, part, separator);
  /** Vector j of walked row y, for every lane. */
  const all = (y: string, j: number): string => `subgroupShuffle(${y}_${Math.floor(j / lanes)}, ${j % lanes}u)`;
  const load = (y: string, operand: string, at: string): string =>
    repeat(parts, (p) => `let ${y}_${p} = ${operand}[${at} * ${vectors}u + part${p}];`, " ");

  /** A lane keeps row x of those loaded if it is its own. */
  const keep = (x: string, operand: string): string => wgsl`
    {
      ${load("row", operand, "at")}
      ${repeat(vectors, (j) => `${x}_${j} = select(${x}_${j}, ${all("row", j)}, lane == l);`, " ")}
    }`;
  /** Row x of lane l is spread and stored. */
  const store = (x: string, operand: string): string =>
    repeat(parts, (p) => {
      const from = p * lanes;
      const vector = (l: number): string => `part = select(part, subgroupShuffle(${x}_${from + l}, l), lane == ${l}u);`;
      return wgsl`
        {
          var part = ${type}();
          ${repeat(Math.min(lanes, vectors - from), vector, " ")}
          if (lane < ${vectors - from}u) { ${operand}[at * ${vectors}u + part${p}] = part; }
        }`;
    });

  return {
    type,
    owned,
    load,
    /** Statements for vectors j of owned rows i. */
    vectors: (part: (i: number, j: number) => string): string => owned((i) => repeat(vectors, (j) => part(i, j), " ")),
    /** Which vectors of a row this lane holds. */
    parts: repeat(parts, (p) => `let part${p} = min(${p * lanes}u + lane, ${vectors - 1}u);`, " "),
    zeros: (x: string): string => owned((i) => repeat(vectors, (j) => `var ${x}${i}_${j} = ${type}();`, " ")),

    /** Fills owned rows, whose index is at0, at1 …. Loads go row by row, since registers have no dynamic index. */
    fill: (operands: Readonly<Record<string, string>>): string => wgsl`
      for (var l = 0u; l < ${lanes}u; l++) {
        ${owned(
          (i) => wgsl`
            {
              let at = subgroupShuffle(at${i}, l);
              ${Object.entries(operands)
                .map(([x, operand]) => keep(`${x}${i}`, operand))
                .join("")}
            }`,
        )}
      }`,
    /** Stores owned rows, the other way round. */
    drain: (operands: Readonly<Record<string, string>>): string => wgsl`
      for (var l = 0u; l < ${lanes}u; l++) {
        ${owned(
          (i) => wgsl`
            if (first + ${i * lanes}u + l < owned) {
              let at = subgroupShuffle(at${i}, l);
              ${Object.entries(operands)
                .map(([x, operand]) => store(`${x}${i}`, operand))
                .join("")}
            }`,
        )}
      }`,

    /** Declares `dot`0, `dot`1 …: owned rows x times walked row y. One sum for each component keeps the adders busy. */
    dots: (dot: string, x: string, y: string): string => wgsl`
      ${owned((i) => `var ${dot}${i}v = ${type}();`, " ")}
      ${repeat(vectors, (j) => `{ let y = ${all(y, j)}; ${owned((i) => `${dot}${i}v += ${x}${i}_${j} * y;`, " ")} }`)}
      ${owned((i) => `let ${dot}${i} = ${width === 1 ? `${dot}${i}v` : `dot(${dot}${i}v, ${type}(1))`};`, " ")}`,

    /** x = x · fade + Σ weight · y over the walked rows y; fades and weights are floats with the owned row's number. */
    add: (x: string, terms: readonly { readonly weight: string; readonly y: string }[], fade?: string): string =>
      repeat(vectors, (j) => {
        const old = (i: number): string => `${x}${i}_${j}${fade === undefined ? "" : ` * ${fade}${i}`}`;
        const sum = (i: number): string => terms.map(({ weight }, u) => `${weight}${i} * y${u}`).join(" + ");
        return `{ ${terms.map(({ y }, u) => `let y${u} = ${all(y, j)};`).join(" ")} ${owned((i) => `${x}${i}_${j} = ${old(i)} + ${sum(i)};`, " ")} }`;
      }),
  };
}

/** A value that all lanes want, loaded by one: a load costs by the active lane. */
const once = (name: string, type: string, value: string): string =>
  `var ${name} = ${type}(0); if (lane == 0u) { ${name} = ${value}; } ${name} = subgroupShuffle(${name}, 0u);`;

function program(
  text: AttentionText,
  { lanes, own }: Cut,
  owns: "queries" | "keys",
  body: string,
  batch?: string,
): string {
  return wgsl`
    ${indices(text, false)}
    @compute @workgroup_size(${lanes})
    fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
      ${place(owns, lanes * own, batch)}
      ${noiseState(text)}
      ${body}
    }`;
}

/** Owned queries: their row, their index, the last key they may see, their text, and where their scores and biases lie. */
const queries =
  ({ packed, bias, noise }: AttentionText, { lanes }: Cut) =>
  (i: number): string =>
    wgsl`
  let row${i} = first + ${i * lanes}u + lane;
  let at${i} = query(b, g, row${i});
  let last${i} = min(row${i} / heads + sizes.past, sizes.S - 1u);
  ${packed ? `let mine${i} = ${textOfQuery(`row${i} / heads`)};` : ""}
  ${noise ? `let scores${i} = scores(b, g, row${i});` : ""}
  ${bias ? `let bias${i} = scores(b * sizes.biasStep, g, row${i});` : ""}`;

/** The loop over the keys s that owned queries may see; `each` is told the number u of a key of the trip. */
const overKeys = (
  { mask }: AttentionText,
  { lanes, own, walk }: Cut,
  each: (u: number) => string,
  then: string,
): string => wgsl`
  let end = ${lastKey(lanes * own)};
  for (var s = 0u; s < end; s += ${walk}u) {
    ${repeat(
      walk,
      (u) => wgsl`
        let key${u} = key(b, g, s + ${u}u);
        ${mask ? once(`text${u}`, "f32", `text(b, s + ${u}u)`) : ""}
        ${each(u)}`,
    )}
    ${then}
  }`;

/** Whether owned query i sees key u of the trip. */
const sees = (text: AttentionText, i: number, u: number): string =>
  [`s + ${u}u <= last${i}`, shown(text, `text${u}`, `mine${i}`) ?? []].flat().join(" && ");

/** The score of owned query i and key u of the trip. */
const score = ({ bias }: AttentionText, i: number, u: number): string =>
  `qk${u}_${i} * sizes.scale${bias ? ` + bias[bias${i} + min(s + ${u}u, sizes.S - 1u)]` : ""}`;

/** With the scores x of all keys so far: peak = max x, total = Σ exp(x − peak), o = Σ exp(x − peak)·v. */
function forward(text: AttentionText, cut: Cut): string {
  const { load, dots, add, owned, vectors, zeros, fill, drain, parts } = pieces(text, cut);
  const { walk } = cut;
  const scores = (u: number): string => wgsl`
    ${load(`k${u}`, "k", `key${u}`)}
    ${dots(`qk${u}_`, "q", `k${u}`)}
    ${owned((i) => `let sees${u}_${i} = ${sees(text, i, u)}; let x${u}_${i} = select(LOWEST, ${score(text, i, u)}, sees${u}_${i});`)}`;
  // A new peak fades what was summed under the old one. Where nothing was seen yet both are LOWEST, and all sums zero.
  const softmax = (i: number): string => wgsl`
    let old${i} = peak${i};
    ${repeat(walk, (u) => `peak${i} = max(peak${i}, x${u}_${i});`, " ")}
    let fade${i} = exp(old${i} - peak${i});
    ${repeat(walk, (u) => `let p${u}_${i} = select(0f, exp(x${u}_${i} - peak${i}), sees${u}_${i});`, " ")}
    total${i} = total${i} * fade${i} + ${repeat(walk, (u) => `p${u}_${i}`, " + ")};`;
  const weights = (u: number): string =>
    owned((i) => `let w${u}_${i} = p${u}_${i}${text.noise ? ` * keep(state, scores${i} + s + ${u}u)` : ""};`, " ");
  const terms = Array.from({ length: walk }, (_, u) => ({ weight: `w${u}_`, y: `v${u}` }));
  return program(
    text,
    cut,
    "queries",
    wgsl`
      ${parts}
      ${owned(queries(text, cut))}
      ${zeros("q")}
      ${fill({ q: "q" })}
      ${zeros("o")}
      ${owned((i) => `var peak${i} = LOWEST; var total${i} = 0f;`)}
      ${overKeys(
        text,
        cut,
        scores,
        wgsl`
          ${owned(softmax)}
          ${repeat(walk, weights)}
          ${repeat(walk, (u) => load(`v${u}`, "v", `key${u}`))}
          ${add("o", terms, "fade")}`,
      )}
      ${owned((i) => `let share${i} = select(0f, 1 / total${i}, total${i} > 0);`)}
      ${vectors((i, j) => `o${i}_${j} *= share${i};`)}
      ${drain({ o: "out" })}
      ${owned((i) => `if (row${i} < rows) { lse[at${i}] = select(0f, log(total${i}) + peak${i}, total${i} > 0); }`)}`,
  );
}

/** Loads key and value u of a trip and declares ds, the slopes of their scores. Owned are q, d = dout, lse and delta. */
const slopesOfQueries =
  (text: AttentionText, cut: Cut) =>
  (u: number): string => {
    const { load, dots, owned } = pieces(text, cut);
    const kept = (i: number): string => `dp${u}_${i}${text.noise ? ` * keep(state, scores${i} + s + ${u}u)` : ""}`;
    return wgsl`
      ${load(`k${u}`, "k", `key${u}`)}
      ${load(`v${u}`, "v", `key${u}`)}
      ${dots(`qk${u}_`, "q", `k${u}`)}
      ${dots(`dp${u}_`, "d", `v${u}`)}
      ${owned((i) => `let p${u}_${i} = exp(${score(text, i, u)} - lse${i}); let ds${u}_${i} = select(0f, p${u}_${i} * (${kept(i)} - delta${i}), ${sees(text, i, u)});`)}`;
  };

/** Fills what `slopesOfQueries` reads. */
function ownQueries(text: AttentionText, cut: Cut): string {
  const { owned, zeros, fill } = pieces(text, cut);
  return wgsl`
    ${owned(queries(text, cut))}
    ${owned((i) => `let lse${i} = side[at${i}]; let delta${i} = side[sizes.delta + at${i}];`)}
    ${zeros("q")}
    ${zeros("d")}
    ${fill({ q: "q", d: "dout" })}`;
}

/** dq = scale · Σ ds·k with ds = p · (dout·v − delta) and p = exp(score − lse). */
function gradQ(text: AttentionText, cut: Cut): string {
  const { add, vectors, zeros, drain, parts } = pieces(text, cut);
  const terms = Array.from({ length: cut.walk }, (_, u) => ({ weight: `ds${u}_`, y: `k${u}` }));
  return program(
    text,
    cut,
    "queries",
    wgsl`
      ${parts}
      ${ownQueries(text, cut)}
      ${zeros("x")}
      ${overKeys(text, cut, slopesOfQueries(text, cut), add("x", terms))}
      ${vectors((i, j) => `x${i}_${j} *= sizes.scale;`)}
      ${drain({ x: "dq" })}`,
  );
}

/** dbias = ds, summed over the batches that share a bias: a lane meets its elements again in each of them. */
function gradBias(text: AttentionText, cut: Cut): string {
  const { owned, parts } = pieces(text, cut);
  const write = (i: number, u: number): string => wgsl`
    if (row${i} < rows && s + ${u}u < sizes.S) {
      let at = bias${i} + s + ${u}u;
      dbias[at] = select(dbias[at], 0f, b == batch) + ds${u}_${i};
    }`;
  return program(
    text,
    cut,
    "queries",
    wgsl`
      ${parts}
      for (var b = batch; b < sizes.B; b += sizes.batches) {
        ${ownQueries(text, cut)}
        ${overKeys(
          text,
          cut,
          slopesOfQueries(text, cut),
          repeat(cut.walk, (u) => owned((i) => write(i, u))),
        )}
        // Keys that none of these queries may see.
        for (var s = end; s < sizes.S && b == batch; s++) {
          ${owned((i) => `if (row${i} < rows) { dbias[bias${i} + s] = 0f; }`)}
        }
      }`,
    "batch",
  );
}

/** dv = Σ p·dout and dk = scale · Σ ds·q over the queries of all heads of the group, with p and ds as in `gradQ`. */
function gradKV(text: AttentionText, cut: Cut): string {
  const { load, dots, add, owned, vectors, zeros, fill, drain, parts } = pieces(text, cut);
  const { lanes, walk } = cut;
  const { mask, packed, bias, noise } = text;
  // Owned keys: their number, their index, and the first query that sees them. None sees a hidden key.
  const keys = (i: number): string => wgsl`
    let s${i} = first + ${i * lanes}u + lane;
    let at${i} = key(b, g, s${i});
    var start${i} = ${firstQuery(`s${i}`)};
    ${mask ? `let text${i} = text(b, s${i});` : ""}
    ${mask && !packed ? `if (text${i} == 0) { start${i} = sizes.T; }` : ""}`;
  // Which of the scores of the walked query belongs to an owned key.
  const place = (i: number, u: number, batch: string): string =>
    `((${batch} * sizes.H + g * heads + h${u}) * sizes.T + min(t${u}, sizes.T - 1u)) * sizes.S + min(s${i}, sizes.S - 1u)`;
  const seen = (i: number, u: number): string =>
    [`start${i} <= t${u}`, u > 0 ? `t${u} < sizes.T` : [], packed ? (shown(text, `text${i}`, `mine${u}`) ?? []) : []]
      .flat()
      .join(" && ");
  const slopes = (u: number): string => wgsl`
    let t${u} = t;
    let h${u} = h;
    let row${u} = (b * sizes.T + min(t, sizes.T - 1u)) * sizes.H + g * heads + h;
    h++; t += u32(h == heads); h = select(h, 0u, h == heads);
    ${load(`q${u}`, "q", `row${u}`)}
    ${load(`d${u}`, "dout", `row${u}`)}
    ${once(`lse${u}`, "f32", `side[row${u}]`)}
    ${once(`delta${u}`, "f32", `side[sizes.delta + row${u}]`)}
    ${packed ? once(`mine${u}`, "f32", textOfQuery(`t${u}`)) : ""}
    ${dots(`qk${u}_`, "k", `q${u}`)}
    ${dots(`dp${u}_`, "v", `d${u}`)}
    ${owned(
      (i) => wgsl`
        let score${u}_${i} = qk${u}_${i} * sizes.scale${bias ? ` + bias[${place(i, u, "b * sizes.biasStep")}]` : ""};
        let p${u}_${i} = select(0f, exp(score${u}_${i} - lse${u}), ${seen(i, u)});
        let keep${u}_${i} = ${noise ? `keep(state, ${place(i, u, "b")})` : "1f"};
        let w${u}_${i} = p${u}_${i} * keep${u}_${i};
        let ds${u}_${i} = p${u}_${i} * (dp${u}_${i} * keep${u}_${i} - delta${u});`,
    )}`;
  const trip = Array.from({ length: walk }, (_, u) => u);
  return program(
    text,
    cut,
    "keys",
    wgsl`
      ${parts}
      ${owned(keys)}
      ${zeros("k")}
      ${zeros("v")}
      ${fill({ k: "k", v: "v" })}
      ${zeros("x")}
      ${zeros("y")}
      // Query t of head h of the group: counted on, since a division costs as much as a load.
      var h = 0u;
      for (var t = ${firstQuery("first")}; t < sizes.T;) {
        ${repeat(walk, slopes)}
        ${add(
          "y",
          trip.map((u) => ({ weight: `w${u}_`, y: `d${u}` })),
        )}
        ${add(
          "x",
          trip.map((u) => ({ weight: `ds${u}_`, y: `q${u}` })),
        )}
      }
      ${vectors((i, j) => `x${i}_${j} *= sizes.scale;`)}
      ${drain({ x: "dk", y: "dv" })}`,
  );
}

/** The kernels for subgroups of `lanes` threads that own `rows` rows for each batch and key head. */
export function lanesFamily(text: AttentionText, lanes: number, rows: number): AttentionFamily {
  const oneToFour = (x: number): number => Math.max(1, Math.min(4, Math.floor(x)));
  // A decoding step has a row or a few: more registers would stay idle.
  const own = rows <= lanes ? 1 : oneToFour(128 / text.E);
  const cut = (floats: number): Cut => ({ lanes, own, walk: oneToFour(floats / text.E) });
  return {
    row: pieces(text, cut(1)).type,
    block: lanes * own,
    forward: () => forward(text, cut(64)),
    gradQ: () => gradQ(text, cut(32)),
    gradKV: () => gradKV(text, cut(32)),
    gradBias: () => gradBias(text, cut(32)),
  };
}
