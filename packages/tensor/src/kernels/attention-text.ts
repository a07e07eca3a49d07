/**
 * @file What the attention kernels of both families share: what decides their text, and where a row lies.
 *
 * Letters: B batch, T queries, S keys, H query heads, G key heads, E head width. The H / G query heads that share a key head
 * are rows of one matrix: row r of key head g is query ⌊r·G/H⌋ of head g·H/G + r mod H/G. So keys and values are loaded
 * once for the whole group, one query (a decoding step) still makes H/G rows, and the gradients of k and v sum over the
 * group by walking through its rows.
 */
import { wgsl } from "./wgsl.ts";

/** What decides the text of a kernel; all other sizes are data. */
export interface AttentionText {
  /** Head width. */
  readonly E: number;
  /** Type of the key mask, or null where there is none. */
  readonly mask: string | null;
}

/** The three kernels in the manner of one family. Each is the text after the bindings. */
export interface AttentionFamily {
  /** WGSL type of the elements of operands that hold E floats for each row. */
  readonly row: string;
  /** Rows that one workgroup owns: of queries, in `gradKV` of keys. */
  readonly block: number;
  /** q, k, v, mask → out, lse. */
  readonly forward: () => string;
  /** q, k, v, lse, delta, dout, mask → dq. */
  readonly gradQ: () => string;
  /** q, k, v, lse, delta, dout, mask → dk, dv. */
  readonly gradKV: () => string;
}

/** Parts 0 … count − 1, one after another. */
export const repeat = (count: number, part: (i: number) => string, separator = "\n"): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(separator);

/**
 * Indices of rows in the operands; rows past the end are the last one again. Query t sees keys 0 … t + past, where past is
 * S − T for causal attention and S otherwise.
 */
export const indices = ({ mask }: AttentionText): string => wgsl`
  const LOWEST = -3e38;
  fn query(b: u32, g: u32, row: u32) -> u32 {
    let heads = sizes.H / sizes.G;
    let r = min(row, sizes.T * heads - 1u);
    return (b * sizes.T + r / heads) * sizes.H + g * heads + r % heads;
  }
  fn key(b: u32, g: u32, s: u32) -> u32 { return (b * sizes.S + min(s, sizes.S - 1u)) * sizes.G + g; }
  ${mask === null ? "" : `fn open(b: u32, s: u32) -> bool { return mask[b * sizes.S + min(s, sizes.S - 1u)] != 0; }`}`;

/** Tells a workgroup its batch b, its key head g and the first of its `block` rows, of which there are `owned` in all. */
export const place = (owns: "queries" | "keys", block: number): string => wgsl`
  let heads = sizes.H / sizes.G;
  let rows = sizes.T * heads;
  let owned = ${owns === "queries" ? "rows" : "sizes.S"};
  let blocks = (owned + ${block - 1}u) / ${block}u;
  let index = group.x + group.y * groups.x;
  if (index >= sizes.B * sizes.G * blocks) { return; }
  let b = index / blocks / sizes.G;
  let g = index / blocks % sizes.G;
  let first = index % blocks * ${block}u;`;

/** The end of the keys that the `block` queries of a workgroup may see. */
export const lastKey = (block: number): string =>
  `min(sizes.S, min(first + ${block - 1}u, rows - 1u) / heads + sizes.past + 1u)`;

/** The first query that sees key s. */
export const firstQuery = (s: string): string => `(max(${s}, sizes.past) - sizes.past)`;
