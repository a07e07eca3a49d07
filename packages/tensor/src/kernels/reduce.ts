/** @file Sums over one axis, in a fixed order; what is summed may be an expression of several operands. */
import type { Lowering, Spec } from "../ops/op.ts";
import type { SumAttrs } from "../ops/reduce.ts";
import { type Dispatch, grid, input, type Operand, output, scratch } from "./kernel.ts";
import { type Access, fitsVectors, inlineAt, loadAll, type Loop } from "./map.ts";
import { shareRows } from "./rows.ts";
import { rowThreads, type Target } from "./target.ts";
import { flat } from "./walk.ts";
import { bytesOf, checkBindings, dispatch, GROUP, MAIN, type Size, wgsl } from "./wgsl.ts";

/** What is summed, at flat indices of [outer, length, inner]. */
export type Summand = Pick<Loop, "label" | "reads" | "body">;
type Axes = Pick<SumAttrs, "outer" | "length" | "inner">;

/** Threads that keep the adapter busy. */
const ENOUGH = { lanes: 512, tiles: 32768 } as const;
/** Elements a thread should have to add up before a sum is split. */
const WORTH_SPLITTING = 64;
const THREADS = 64;

/** Sum over the middle axis; a sum with few results is split along it, and the parts are added by a second pass. */
export function lowerSum(summand: Summand, axes: Axes, target: Target): Lowering {
  const { outer, length, inner } = axes;
  checkBindings(
    summand.label,
    summand.reads.map((r) => r.aval),
    target,
  );
  const results = outer * inner;
  // A GPU's workgroup shares a row, so its threads have that much less to do each.
  const sharing = target.family === "tiles" && inner === 1 ? rowThreads(target) : 1;
  const most = Math.ceil(length / WORTH_SPLITTING / sharing);
  const wanted = Math.min(most, Math.floor(ENOUGH[target.family] / results / sharing));
  const parts = wanted - (wanted % 4); // so that the second pass always reads vectors
  if (parts === 0) return { dispatches: [pass(summand, axes, 1, output(0), target)] };
  // Parts of a row stand side by side, parts of a column one below the other, as the second pass reads them.
  const again: Axes = inner === 1 ? { outer, length: parts, inner } : { outer: 1, length: parts, inner: results };
  const partial = { shape: [parts * results], dtype: "f32" } as const;
  const rest: Summand = {
    label: summand.label,
    reads: [{ operand: scratch(0, "read"), aval: partial, walk: flat(parts * results) }],
    body: ([x]) => ({ lines: [], value: x ?? "" }),
  };
  return {
    dispatches: [pass(summand, axes, parts, scratch(0, "write"), target), pass(rest, again, 1, output(0), target)],
    scratch: [bytesOf(partial)],
  };
}

function pass(summand: Summand, axes: Axes, parts: number, y: Operand, target: Target): Dispatch {
  return axes.inner === 1 ? sumRows(summand, axes, parts, y, target) : sumColumns(summand, axes, parts, y, target);
}

/** A row is added up by one thread or by several, and so is each part of a row. */
function sumRows({ label, reads, body }: Summand, axes: Axes, parts: number, y: Operand, target: Target): Dispatch {
  const { outer, length } = axes;
  const size = outer * length;
  const unit = length % 4 === 0 && fitsVectors(reads, size) ? 4 : 1;
  const rows = shareRows(outer * parts, length / parts, target);
  const part = Math.ceil(length / unit / parts);
  const sizes: Record<string, Size> = { rows: outer * parts, parts, part, length: length / unit };
  const loads = loadAll(reads, { size, unit, sizes });
  const { before = [], lines, value } = body(loads.args, inlineAt(unit));
  const type = unit === 4 ? "vec4f" : "f32";
  return dispatch({
    label: `${label} rows ${rows.label}`,
    bindings: [...loads.bindings, { name: "y", type: "f32", operand: y }],
    sizes,
    workgroups: grid(Math.ceil((outer * parts) / rows.rowsPerGroup), target.maxWorkgroups),
    cost: cost(reads, size),
    code: wgsl`
      ${rows.prelude}
      @compute @workgroup_size(${rows.threads * rows.rowsPerGroup})
      fn main(${MAIN}) {
        ${rows.start}
        ${[...loads.before, ...before].join("\n")}
        let start = row / sizes.parts * sizes.length;
        let part = row % sizes.parts * sizes.part;
        let end = start + min(part + sizes.part, sizes.length);
        var sum = ${type}();
        for (var i = start + part + lane; i < end; i += LANES) {
          ${[...loads.inside, ...lines].join("\n")}
          sum += ${value};
        }
        let all = total(lane, ${unit === 4 ? "dot(sum, vec4f(1.0))" : "sum"});
        if (lane == 0u) { y[row] = all; }
      }`,
  });
}

/** A thread adds up one column, or four that stand side by side, or a part of them. */
function sumColumns({ label, reads, body }: Summand, axes: Axes, parts: number, y: Operand, target: Target): Dispatch {
  const { outer, length, inner } = axes;
  const size = outer * length * inner;
  const unit = inner % 4 === 0 && fitsVectors(reads, size) ? 4 : 1;
  const columns = (outer * inner) / unit;
  const part = Math.ceil(length / parts);
  const sizes: Record<string, Size> = { count: columns * parts, columns, part, length, inner: inner / unit };
  const loads = loadAll(reads, { size, unit, sizes });
  const { before = [], lines, value } = body(loads.args, inlineAt(unit));
  const type = unit === 4 ? "vec4f" : "f32";
  const threads = target.family === "lanes" ? target.subgroup : THREADS;
  return dispatch({
    label: `${label} columns`,
    bindings: [...loads.bindings, { name: "y", type, operand: y }],
    sizes,
    workgroups: grid(Math.ceil((columns * parts) / threads), target.maxWorkgroups),
    cost: cost(reads, size),
    code: wgsl`
      @compute @workgroup_size(${threads})
      fn main(${MAIN}) {
        let result = ${GROUP} * ${threads}u + thread;
        if (result >= sizes.count) { return; }
        ${[...loads.before, ...before].join("\n")}
        let column = result % sizes.columns;
        let part = result / sizes.columns * sizes.part;
        let start = column / sizes.inner * sizes.length * sizes.inner + column % sizes.inner;
        var sum = ${type}();
        for (var l = part; l < min(part + sizes.part, sizes.length); l++) {
          let i = start + l * sizes.inner;
          ${[...loads.inside, ...lines].join("\n")}
          sum += ${value};
        }
        y[result] = sum;
      }`,
  });
}

const cost = (reads: readonly Access[], size: number): { flops: number; bytes: number } => ({
  flops: size,
  bytes: reads.reduce((n, r) => n + bytesOf(r.aval), 0),
});

/** x [outer, length, inner] → [outer, inner]. */
export function sumLowering({ inputs, attrs }: Spec<SumAttrs>, target: Target): Lowering {
  const { outer, length, inner } = attrs;
  const reads = inputs.map((aval, k) => ({ operand: input(k), aval, walk: flat(outer * length * inner) }));
  return lowerSum({ label: "sum", reads, body: ([x]) => ({ lines: [], value: x ?? "" }) }, attrs, target);
}
