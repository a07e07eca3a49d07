/**
 * @file What the attention kernels of both families share: what decides their text, and where a row lies.
 *
 * Letters: B batch, T queries, S keys, H query heads, G key heads, E head width. The H / G query heads that share a key head
 * are rows of one matrix: row r of key head g is query ⌊r·G/H⌋ of head g·H/G + r mod H/G. So keys and values are loaded
 * once for the whole group, one query (a decoding step) still makes H/G rows, and the gradients of k and v sum over the
 * group by walking through its rows.
 */
import { keepFunction } from "./random.ts";
import { wgsl } from "./wgsl.ts";

/** What decides the text of a kernel; all other sizes are data. */
export interface AttentionText {
  /** Head width. */
  readonly E: number;
  readonly mask: boolean;
  /** Whether the mask holds numbers of texts. */
  readonly packed: boolean;
  readonly bias: boolean;
  /** Whether weights are dropped. */
  readonly noise: boolean;
  /** Whether mask and noise are parts of the side operand, as in gradients, which lack bindings for them. */
  readonly side: boolean;
}

/** The kernels in the manner of one family. Each is the text after the bindings. */
export interface AttentionFamily {
  /** WGSL type of the elements of operands that hold E floats for each row. */
  readonly row: string;
  /** Rows that one workgroup owns: of queries, in `gradKV` of keys. */
  readonly block: number;
  /** q, k, v, mask, bias, noise → out, lse. */
  readonly forward: () => string;
  /** q, k, v, dout, side, bias → dq. */
  readonly gradQ: () => string;
  /** q, k, v, dout, side, bias → dk, dv. */
  readonly gradKV: () => string;
  /** q, k, v, dout, side, bias → dbias. */
  readonly gradBias: () => string;
}

/** Parts 0 … count − 1, one after another. */
export const repeat = (count: number, part: (i: number) => string, separator = "\n"): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(separator);

/**
 * Indices of rows in the operands; rows past the end are the last one again. Query t sees keys 0 … t + past, where past is
 * S − T for causal attention and S otherwise.
 */
export const indices = ({ mask, packed, bias, noise, side }: AttentionText, vector: boolean): string => wgsl`
  const LOWEST = -3e38;
  fn query(b: u32, g: u32, row: u32) -> u32 {
    let heads = sizes.H / sizes.G;
    let r = min(row, sizes.T * heads - 1u);
    return (b * sizes.T + r / heads) * sizes.H + g * heads + r % heads;
  }
  fn key(b: u32, g: u32, s: u32) -> u32 { return (b * sizes.S + min(s, sizes.S - 1u)) * sizes.G + g; }
  ${bias || noise ? scoresOf : ""}
  ${mask ? `fn text(b: u32, s: u32) -> f32 { return ${side ? "side[sizes.mask + " : "f32(mask["}b * sizes.S + min(s, sizes.S - 1u)]${side ? "" : ")"}; }` : ""}
  ${packed ? "fn shows(key: f32, mine: f32) -> bool { return key == -1 || (key != 0 && key == mine); }" : ""}
  ${noise ? keepFunction(vector) : ""}`;

/** Where the scores of a query lie in operands of their shape. */
const scoresOf = wgsl`
  fn scores(b: u32, g: u32, row: u32) -> u32 {
    let heads = sizes.H / sizes.G;
    let r = min(row, sizes.T * heads - 1u);
    return ((b * sizes.H + g * heads + r % heads) * sizes.T + r / heads) * sizes.S;
  }`;

/** Declares the state of the noise. */
export const noiseState = ({ noise, side }: AttentionText): string => {
  const half = (i: number): string => (side ? `u32(side[sizes.noise + ${i}u])` : `u32(noise[${i}])`);
  return noise ? `let state = (${half(0)} << 16u) | ${half(1)};` : "";
};

/** The number of the text of a query, where texts share a row. */
export const textOfQuery = (t: string): string => `text(b, ${t} + sizes.S - sizes.T)`;

/** Whether a key, of which `text` is known, is shown to a query with that of `mine`; null where there is no mask. */
export const shown = ({ mask, packed }: AttentionText, text: string, mine: string): string | null =>
  packed ? `shows(${text}, ${mine})` : mask ? `${text} != 0` : null;

/**
 * Tells a workgroup its batch, its key head g and the first of its `block` rows, of which there are `owned` in all.
 * @param batch the variable that gets the batch, one of `sizes.batches`.
 */
export const place = (owns: "queries" | "keys", block: number, batch = "b"): string => wgsl`
  let heads = sizes.H / sizes.G;
  let rows = sizes.T * heads;
  let owned = ${owns === "queries" ? "rows" : "sizes.S"};
  let blocks = (owned + ${block - 1}u) / ${block}u;
  let index = group.x + group.y * groups.x;
  if (index >= sizes.batches * sizes.G * blocks) { return; }
  let ${batch} = index / blocks / sizes.G;
  let g = index / blocks % sizes.G;
  let first = index % blocks * ${block}u;`;

/** The end of the keys that the `block` queries of a workgroup may see. */
export const lastKey = (block: number): string =>
  `min(sizes.S, min(first + ${block - 1}u, rows - 1u) / heads + sizes.past + 1u)`;

/** The first query that sees key s. */
export const firstQuery = (s: string): string => `(max(${s}, sizes.past) - sizes.past)`;
