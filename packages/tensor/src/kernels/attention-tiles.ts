/**
 * @file Attention for GPUs: a workgroup owns rows, and works through squares of scores in shared memory. No subgroups.
 *
 * A square is 32 owned rows by 32 columns of the other side: queries by keys, in the gradient of k and v keys by queries. The
 * 128 threads of a workgroup stand 16 × 8; thread (y, x) has rows y + 16·i and columns 4·x + j of it, i < 2 and j < 4, as one
 * vec4f a row. Two moves do all the work. `products` fills a square with [32, E]·[32, E]ᵀ, panel by panel of 16 values of e.
 * `accumulate` adds square·[32, E] to sums over the owned rows; of those a thread holds the same rows, and values
 * 32·c + 4·x + j of e. Shared memory: 5 KB of panels, 4.5 KB of the square, 1 KB for reductions along its rows.
 *
 * Bounds of loops are written so that no compiler sees a constant in them: Mesa unrolls even `j < min(8u, …)`, and what
 * compiled in one second on the software adapter takes ten.
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

const SIDE = 32;
const THREADS = 128;
/** Vectors from one row of a panel, or of the square, to the next: odd, so that 8 threads in a row meet 8 sets of banks. */
const PANEL = 5;
const SQUARE = 9;
/** Sums of 4 chunks of e fit a thread's registers. Wider heads take several passes, each of which computes all scores. */
const MOST_CHUNKS = 4;

/** The rows, and the columns, of a thread. */
const two = (part: (i: number) => string, separator = "\n"): string => repeat(2, part, separator);
const four = (part: (j: number) => string, separator = "\n"): string => repeat(4, part, separator);

/** Vector e of row `at` of an operand, zeros from E on; and its counterpart for outputs. */
function access(text: AttentionText, name: string, writes: boolean): string {
  const whole = text.E % 4 === 0;
  const read = whole
    ? `if (e < sizes.E / 4u) { return ${name}[at * (sizes.E / 4u) + e]; } return vec4f();`
    : `return vec4f(${four((c) => `load_${name}_1(at, 4u * e + ${c}u)`, ", ")});`;
  const write = whole
    ? `if (e < sizes.E / 4u) { ${name}[at * (sizes.E / 4u) + e] = x; }`
    : four((c) => `if (4u * e + ${c}u < sizes.E) { ${name}[at * sizes.E + 4u * e + ${c}u] = x[${c}]; }`);
  if (writes) return `fn store_${name}(at: u32, e: u32, x: vec4f) { ${write} }`;
  return wgsl`
    ${whole ? "" : `fn load_${name}_1(at: u32, e: u32) -> f32 { if (e < sizes.E) { return ${name}[at * sizes.E + e]; } return 0f; }`}
    fn load_${name}(at: u32, e: u32) -> vec4f { ${read} }`;
}

/** An operand, and the index of one of its rows given the row's number on its side. */
interface Side {
  readonly operand: string;
  readonly row: (number: string) => string;
}
const owned = (operand: string, fn: string): Side => ({ operand, row: (r) => `${fn}(b, g, first + ${r})` });
const walked = (operand: string, fn: string): Side => ({ operand, row: (r) => `${fn}(b, g, base + ${r})` });

/** Declares `square`0 and 1, a thread's part of rows·columnsᵀ. Column 4·x + j of a panel stands at 8·j + x. */
const products = (square: string, rows: Side, columns: Side): string => wgsl`
  ${two((i) => `var ${square}${i} = vec4f();`, " ")}
  {
    let row = ${rows.row("line")};
    let column = ${columns.row("line % 8u * 4u + line / 8u")};
    for (var e = 0u; e < vectors; e += 4u) {
      panel[line * ${PANEL}u + thread % 4u] = load_${rows.operand}(row, e + thread % 4u);
      panel[(${SIDE}u + line) * ${PANEL}u + thread % 4u] = load_${columns.operand}(column, e + thread % 4u);
      workgroupBarrier();
      for (var j = 0u; j < min(e + 4u, vectors) - e; j++) {
        ${two((i) => `let a${i} = panel[(y + ${16 * i}u) * ${PANEL}u + j];`)}
        ${four((j) => `let b${j} = panel[(${SIDE}u + x + ${8 * j}u) * ${PANEL}u + j];`)}
        ${two((i) => `${square}${i} += vec4f(${four((j) => `dot(a${i}, b${j})`, ", ")});`)}
      }
      workgroupBarrier();
    }
  }`;

/** Chunks of 32 values of e that a thread holds sums of. */
const chunks = ({ E }: AttentionText): number => Math.min(MOST_CHUNKS, Math.ceil(E / SIDE));
const eachSum = (text: AttentionText, part: (c: number, i: number) => string): string =>
  repeat(chunks(text), (c) => two((i) => part(c, i), " "));
const zeros = (text: AttentionText, sum: string): string => eachSum(text, (c, i) => `var ${sum}${c}_${i} = vec4f();`);

/** Shares a thread's part of a square with the others. */
const share = (square: string): string => two((i) => `square[(y + ${16 * i}u) * ${SQUARE}u + x] = ${square}${i};`);

/** Adds the shared square times the columns' side, which ends at column `end`, to sums over the owned rows. */
const accumulate = (text: AttentionText, sum: string, columns: Side): string =>
  repeat(
    chunks(text),
    (c) => wgsl`
      for (var i = thread; i < ${8 * SIDE}u; i += ${THREADS}u) {
        panel[i] = load_${columns.operand}(${columns.row("i / 8u")}, e0 + ${8 * c}u + i % 8u);
      }
      workgroupBarrier();
      for (var j = 0u; j < (min(base + ${SIDE}u, end) - base + 3u) / 4u; j++) {
        ${two((i) => `let w${i} = square[(y + ${16 * i}u) * ${SQUARE}u + j];`)}
        ${four((k) => `{ let z = panel[(4u * j + ${k}u) * 8u + x]; ${two((i) => `${sum}${c}_${i} += w${i}[${k}] * z;`, " ")} }`)}
      }
      workgroupBarrier();`,
  );

/** Stores sums in the owned rows. */
const store = (text: AttentionText, sum: string, operand: string, fn: string): string => wgsl`
  ${two((i) => `if (first + y + ${16 * i}u < owned) { let at = ${fn}(b, g, first + y + ${16 * i}u); ${repeat(chunks(text), (c) => `store_${operand}(at, e0 + ${8 * c}u + x, ${sum}${c}_${i});`, " ")} }`)}`;

function program(
  text: AttentionText,
  owns: "queries" | "keys",
  reads: readonly string[],
  writes: readonly string[],
  body: string,
  batch?: string,
): string {
  return wgsl`
    ${indices(text, true)}
    ${text.bias ? biasOf : ""}
    ${reads.map((name) => access(text, name, false)).join("\n")}
    ${writes.map((name) => access(text, name, true)).join("\n")}
    var<workgroup> panel: array<vec4f, ${2 * SIDE * PANEL}>;
    var<workgroup> square: array<vec4f, ${SIDE * SQUARE}>;
    var<workgroup> edge: array<f32, ${SIDE * 8}>;
    @compute @workgroup_size(${THREADS})
    fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
      ${place(owns, SIDE, batch)}
      ${noiseState(text)}
      let x = thread % 8u;
      let y = thread / 8u;
      let line = thread / 4u;
      let vectors = (sizes.E + 3u) / 4u;
      for (var e0 = 0u; e0 < ${writes.length > 0 && text.E > SIDE * MOST_CHUNKS ? "vectors" : "1u"}; e0 += ${8 * MOST_CHUNKS}u) {
        ${body}
      }
    }`;
}

/** Four biases. */
const biasOf = "fn bias_of(at: vec4u) -> vec4f { return vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]); }";

/** A thread's owned queries: their index, the last key they may see, their text, and where their scores and biases lie. */
const queries = ({ packed, bias, noise }: AttentionText): string =>
  two(
    (i) => wgsl`
      let row${i} = first + y + ${16 * i}u;
      let at${i} = query(b, g, row${i});
      let last${i} = min(row${i} / heads + sizes.past, sizes.S - 1u);
      ${packed ? `let mine${i} = ${textOfQuery(`row${i} / heads`)};` : ""}
      ${noise ? `let scores${i} = scores(b, g, row${i});` : ""}
      ${bias ? `let bias${i} = scores(b * sizes.biasStep, g, row${i});` : ""}`,
  );

/** The columns s of a square of keys from base on; sees0 and 1 tell which of them each of a thread's rows sees. */
const keys = (text: AttentionText): string => wgsl`
  let s = base + 4u * x + vec4u(0, 1, 2, 3);
  ${text.mask ? `let texts = vec4f(${four((j) => `text(b, s[${j}])`, ", ")});` : ""}
  ${two((i) => `let sees${i} = (s <= vec4u(last${i}))${shownColumns(text, i)};`)}`;
const shownColumns = (text: AttentionText, i: number): string =>
  text.mask ? ` & vec4<bool>(${four((j) => shown(text, `texts[${j}]`, `mine${i}`) ?? "", ", ")})` : "";

/** The loop over squares of keys that owned queries may see. */
const overKeys = (text: AttentionText, body: string): string => wgsl`
  let end = ${lastKey(SIDE)};
  for (var base = 0u; base < end; base += ${SIDE}u) {
    ${keys(text)}
    ${body}
  }`;

/** Scores of row i, given products. */
const score = ({ bias }: AttentionText, i: number): string =>
  `p${i} * sizes.scale${bias ? ` + bias_of(bias${i} + min(s, vec4u(sizes.S - 1u)))` : ""}`;

/** Declares ds0 and 1, the slopes of the scores of owned queries and a square of keys. */
const slopesOfQueries = (text: AttentionText): string => wgsl`
  ${products("p", owned("q", "query"), walked("k", "key"))}
  ${products("ds", owned("dout", "query"), walked("v", "key"))}
  ${two((i) => `ds${i} = select(vec4f(), exp(${score(text, i)} - lse${i}) * (ds${i}${text.noise ? ` * keep(state, scores${i} + s)` : ""} - delta${i}), sees${i});`)}`;
const sidesOfQueries = two((i) => `let lse${i} = side[at${i}]; let delta${i} = side[sizes.delta + at${i}];`);

/** Reduces one float a thread and row, kept in edge, along the rows. */
const along = (i: number, join: (a: string, b: string) => string): string =>
  Array.from({ length: 8 }, (_, k) => `edge[(y + ${16 * i}u) * 8u + ${k}u]`).reduce(join);

/** With the scores of all keys so far: peak = max, total = Σ exp(score − peak), o = Σ exp(score − peak)·v. */
const forward = (text: AttentionText): string =>
  program(
    text,
    "queries",
    ["q", "k", "v"],
    ["out"],
    wgsl`
      ${queries(text)}
      ${zeros(text, "o")}
      ${two((i) => `var peak${i} = LOWEST; var total${i} = 0f;`)}
      ${overKeys(
        text,
        wgsl`
          ${products("p", owned("q", "query"), walked("k", "key"))}
          ${two((i) => `p${i} = select(vec4f(LOWEST), ${score(text, i)}, sees${i}); edge[(y + ${16 * i}u) * 8u + x] = max(max(p${i}.x, p${i}.y), max(p${i}.z, p${i}.w));`)}
          workgroupBarrier();
          // A new peak fades what was summed under the old one. Totals stay apart by thread until the end.
          ${two(
            (i) => wgsl`
              let peak_${i} = max(peak${i}, ${along(i, (a, b) => `max(${a}, ${b})`)});
              let fade${i} = exp(peak${i} - peak_${i});
              peak${i} = peak_${i};
              p${i} = select(vec4f(), exp(p${i} - peak${i}), sees${i});
              total${i} = total${i} * fade${i} + dot(p${i}, vec4f(1));
              ${text.noise ? `p${i} *= keep(state, scores${i} + s);` : ""}`,
          )}
          ${eachSum(text, (c, i) => `o${c}_${i} *= fade${i};`)}
          ${share("p")}
          ${accumulate(text, "o", walked("v", "key"))}`,
      )}
      ${two((i) => `edge[(y + ${16 * i}u) * 8u + x] = total${i};`)}
      workgroupBarrier();
      ${two((i) => `total${i} = ${along(i, (a, b) => `${a} + ${b}`)}; let share${i} = select(0f, 1 / total${i}, total${i} > 0);`)}
      ${eachSum(text, (c, i) => `o${c}_${i} *= share${i};`)}
      ${store(text, "o", "out", "query")}
      ${two((i) => `if (x == 0u && first + y + ${16 * i}u < owned) { lse[at${i}] = select(0f, log(total${i}) + peak${i}, total${i} > 0); }`)}`,
  );

/** dq = scale · Σ ds·k with ds = p · (dout·v − delta) and p = exp(score − lse). */
const gradQ = (text: AttentionText): string =>
  program(
    text,
    "queries",
    ["q", "k", "v", "dout"],
    ["dq"],
    wgsl`
      ${queries(text)}
      ${sidesOfQueries}
      ${zeros(text, "z")}
      ${overKeys(
        text,
        wgsl`
          ${slopesOfQueries(text)}
          ${share("ds")}
          ${accumulate(text, "z", walked("k", "key"))}`,
      )}
      ${eachSum(text, (c, i) => `z${c}_${i} *= sizes.scale;`)}
      ${store(text, "z", "dq", "query")}`,
  );

/** dbias = ds, summed over the batches that share a bias; zeros where no owned query may see a key. */
const gradBias = (text: AttentionText): string =>
  program(
    text,
    "queries",
    ["q", "k", "v", "dout"],
    [],
    wgsl`
      let end = ${lastKey(SIDE)};
      for (var base = 0u; base < sizes.S; base += ${SIDE}u) {
        ${two((i) => `var sum${i} = vec4f();`, " ")}
        for (var b = batch; b < sizes.B && base < end; b += sizes.batches) {
          ${queries(text)}
          ${sidesOfQueries}
          ${keys(text)}
          ${slopesOfQueries(text)}
          ${two((i) => `sum${i} += ds${i};`, " ")}
        }
        ${two(
          (i) => wgsl`
            if (first + y + ${16 * i}u < owned) {
              let at = scores(batch, g, first + y + ${16 * i}u) + base + 4u * x;
              ${four((j) => `if (base + 4u * x + ${j}u < sizes.S) { dbias[at + ${j}u] = sum${i}[${j}]; }`)}
            }`,
        )}
      }`,
    "batch",
  );

/** Which columns r of a square of queries see each owned key i. */
const seenBy = (text: AttentionText, i: number): string => {
  const reached = `(r >= vec4u(start${i})) & (r < vec4u(rows))`;
  if (!text.mask) return reached;
  const each = text.packed
    ? four((j) => shown(text, `text${i}`, `mine[${j}]`) ?? "", ", ")
    : shown(text, `text${i}`, "");
  return `${reached} & vec4<bool>(${each})`;
};

/** dv = Σ p·dout and dk = scale · Σ ds·q over the queries of all heads of the group, with p and ds as in `gradQ`. */
const gradKV = (text: AttentionText): string =>
  program(
    text,
    "keys",
    ["q", "k", "v", "dout"],
    ["dk", "dv"],
    wgsl`
      // The first row whose query sees each owned key; no row sees a hidden key.
      ${two((i) => `let s${i} = first + y + ${16 * i}u; let start${i} = ${firstQuery(`s${i}`)} * heads;`)}
      ${text.mask ? two((i) => `let text${i} = text(b, s${i});`) : ""}
      ${zeros(text, "z")}
      ${zeros(text, "w")}
      let end = rows;
      for (var base = ${firstQuery("first")} * heads; base < end; base += ${SIDE}u) {
        let r = base + 4u * x + vec4u(0, 1, 2, 3);
        let at = vec4u(${four((j) => `query(b, g, r[${j}])`, ", ")});
        let lses = vec4f(${four((j) => `side[at[${j}]]`, ", ")});
        let deltas = vec4f(${four((j) => `side[sizes.delta + at[${j}]]`, ", ")});
        ${text.packed ? `let mine = vec4f(${four((j) => textOfQuery(`r[${j}] / heads`), ", ")});` : ""}
        ${text.noise ? `let scores_at = vec4u(${four((j) => `scores(b, g, r[${j}])`, ", ")});` : ""}
        ${text.bias ? `let bias_at = vec4u(${four((j) => `scores(b * sizes.biasStep, g, r[${j}])`, ", ")});` : ""}
        ${products("p", owned("k", "key"), walked("q", "query"))}
        ${products("ds", owned("v", "key"), walked("dout", "query"))}
        ${two(
          (i) => wgsl`
            p${i} = select(vec4f(), exp(p${i} * sizes.scale${text.bias ? ` + bias_of(bias_at + min(s${i}, sizes.S - 1u))` : ""} - lses), ${seenBy(text, i)});
            ${text.noise ? `let keep${i} = keep(state, scores_at + s${i});` : ""}
            ds${i} = p${i} * (ds${i}${text.noise ? ` * keep${i}` : ""} - deltas);
            ${text.noise ? `p${i} *= keep${i};` : ""}`,
        )}
        ${share("p")}
        ${accumulate(text, "w", walked("dout", "query"))}
        ${share("ds")}
        ${accumulate(text, "z", walked("q", "query"))}
      }
      ${eachSum(text, (c, i) => `z${c}_${i} *= sizes.scale;`)}
      ${store(text, "z", "dk", "key")}
      ${store(text, "w", "dv", "key")}`,
  );

/** The kernels for any GPU. Their text depends on E only by the number of chunks and on whether vectors fit. */
export const tilesFamily = (text: AttentionText): AttentionFamily => ({
  row: text.E % 4 === 0 ? "vec4f" : "f32",
  block: SIDE,
  forward: () => forward(text),
  gradQ: () => gradQ(text),
  gradKV: () => gradKV(text),
  gradBias: () => gradBias(text),
});
