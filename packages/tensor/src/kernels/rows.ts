/** @file Kernels that go through rows: how threads share a row, and the frame of norms and losses. */
import type { Aval } from "../shape.ts";
import { type Dispatch, grid, type Operand } from "./kernel.ts";
import { rowThreads, type Target } from "./target.ts";
import { bytesOf, checkBindings, dispatch, GROUP, MAIN, type Size, wgsl } from "./wgsl.ts";

/**
 * How the rows of a reduction are shared out. `threads` work on one row, `rowsPerGroup` rows make a workgroup.
 *
 * The text may use `row`, `lane` (0 … threads − 1) and `LANES`, and, outside of branches, `total(lane, x)` and
 * `peak(lane, x)`: sum and maximum over the threads of a row, the same bits for all of them.
 */
export interface Rows {
  readonly label: string;
  readonly threads: number;
  readonly rowsPerGroup: number;
  /** Declarations in front of `main`. */
  readonly prelude: string;
  /** First lines of `main`; threads past the last row have returned. */
  readonly start: string;
}

/** Rows from which on one thread a row leaves no core of a software adapter without work. */
const MANY_ROWS = 64;
/** Elements up to which a row is no work for a workgroup of a GPU. */
const SHORT_ROW = 32;

/**
 * On a software adapter a thread takes a row where there are many, else a subgroup does, without a barrier; on a GPU a
 * workgroup shares a row, unless it is short, and adds up in a fixed tree.
 */
export function shareRows(rows: number, width: number, target: Target): Rows {
  const { family } = target;
  if (family === "lanes" ? rows >= MANY_ROWS : width <= SHORT_ROW) {
    const rowsPerGroup = rowThreads(target);
    return {
      label: "thread",
      threads: 1,
      rowsPerGroup,
      prelude: wgsl`
        const LANES = 1u;
        fn total(lane: u32, x: f32) -> f32 { return x; }
        fn peak(lane: u32, x: f32) -> f32 { return x; }`,
      start: wgsl`
        let row = ${GROUP} * ${rowsPerGroup}u + thread;
        let lane = 0u;
        if (row >= sizes.rows) { return; }`,
    };
  }
  const threads = rowThreads(target);
  const start = wgsl`
    let row = ${GROUP};
    let lane = thread;
    if (row >= sizes.rows) { return; }`;
  if (family === "lanes")
    return {
      label: "subgroup",
      threads,
      rowsPerGroup: 1,
      prelude: wgsl`
        const LANES = ${threads}u;
        fn total(lane: u32, x: f32) -> f32 { return subgroupAdd(x); }
        fn peak(lane: u32, x: f32) -> f32 { return subgroupMax(x); }`,
      start,
    };
  const tree = (name: string, combine: string): string => wgsl`
    fn ${name}(lane: u32, x: f32) -> f32 {
      shared_row[lane] = x;
      for (var width = LANES / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (lane < width) { shared_row[lane] = ${combine}; }
      }
      return workgroupUniformLoad(&shared_row[0]);
    }`;
  return {
    label: "group",
    threads,
    rowsPerGroup: 1,
    prelude: wgsl`
      const LANES = ${threads}u;
      var<workgroup> shared_row: array<f32, ${threads}>;
      ${tree("total", "shared_row[lane] + shared_row[lane + width]")}
      ${tree("peak", "max(shared_row[lane], shared_row[lane + width])")}`,
    start,
  };
}

/** A kernel that goes through [rows, width] a row at a time. */
export interface RowKernel {
  readonly label: string;
  readonly rows: number;
  readonly width: number;
  readonly operands: readonly RowOperand[];
  /** Fields of `sizes` besides `rows` and `width` (which counts Vs). */
  readonly sizes?: Readonly<Record<string, Size>>;
  /**
   * Statements of a row, where V is f32, or vec4f if the width allows it. Element i of the row in an operand of rows is
   * `name[first + i]`; `all(lane, v)` and `most(lane, v)` are sum and maximum over all elements of all threads.
   */
  readonly body: (unit: 1 | 4) => string;
}

/** An operand: of Vs (rows, or one row for all), or of scalars, one a row. */
export interface RowOperand {
  readonly name: string;
  readonly type: "V" | "f32" | "i32" | "u32";
  readonly aval: Aval;
  readonly operand: Operand;
}

/** A loop over the elements of a row that this thread takes; the statements may use `i` and `at`, its place in a tensor. */
export const each = (statements: string): string => wgsl`
  for (var i = lane; i < sizes.width; i += LANES) {
    let at = first + i;
    ${statements}
  }`;

/** The dispatch of a row kernel. @throws {DeviceError} if an operand is larger than a binding. */
export function lowerRows({ label, rows, width, operands, sizes = {}, body }: RowKernel, target: Target): Dispatch {
  const avals = operands.map((o) => o.aval);
  checkBindings(label, avals, target);
  const unit = width % 4 === 0 ? 4 : 1;
  const shared = shareRows(rows, width, target);
  const [sum, top] = unit === 4 ? ["dot(x, vec4f(1.0))", "max(max(x.x, x.y), max(x.z, x.w))"] : ["x", "x"];
  return dispatch({
    label: `${label} ${shared.label}`,
    bindings: operands,
    sizes: { rows, width: width / unit, ...sizes },
    workgroups: grid(Math.ceil(rows / shared.rowsPerGroup), target.maxWorkgroups),
    cost: { flops: 8 * rows * width, bytes: avals.reduce((n, t) => n + bytesOf(t), 0) },
    code: wgsl`
      alias V = ${unit === 4 ? "vec4f" : "f32"};
      ${shared.prelude}
      fn all(lane: u32, x: V) -> f32 { return total(lane, ${sum}); }
      fn most(lane: u32, x: V) -> f32 { return peak(lane, ${top}); }
      @compute @workgroup_size(${shared.threads * shared.rowsPerGroup})
      fn main(${MAIN}) {
        ${shared.start}
        let first = row * sizes.width;
        ${body(unit)}
      }`,
  });
}
