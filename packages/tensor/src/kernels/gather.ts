/** @file Rows of a table by index, and the gradient that adds them up again, for tables of any size. */
import { bytesPerElement } from "../dtype.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import { type Aval, sizeOf } from "../shape.ts";
import { type Dispatch, input, output, type OperandRange, scratch } from "./kernel.ts";
import { lowerLoop } from "./map.ts";
import { lowerRows } from "./rows.ts";
import type { Target } from "./target.ts";
import { flat } from "./walk.ts";
import { checkBindings, dispatch, eachItem, itemGroups, wgsl } from "./wgsl.ts";

interface Block {
  readonly first: number;
  readonly count: number;
  readonly range: OperandRange;
}

/** Blocks of rows that can be bound: the whole table if it fits. A block starts at a multiple of 256 bytes. */
function blocksOf({ shape: [V = 0, D = 0], dtype }: Aval, { maxBinding }: Target): Block[] {
  const row = D * bytesPerElement[dtype];
  if (V * row <= maxBinding) return [{ first: 0, count: V, range: {} }];
  let align = 1;
  while ((align * row) % 256 !== 0) align *= 2;
  const most = Math.floor(maxBinding / row / align) * align;
  return Array.from({ length: Math.ceil(V / most) }, (_, k) => {
    const [first, count] = [k * most, Math.min(most, V - k * most)];
    return { first, count, range: { offset: first * row, size: Math.ceil((count * row) / 4) * 4 } };
  });
}

/** table [V, D] in f32 or f16, ids → [..., D]; each block of the table fills in its own rows. */
export function gatherLowering({ inputs, outputs }: Spec, target: Target): Lowering {
  const [table, ids] = inputs as readonly [Aval, Aval]; // gather has two
  checkBindings("gather", [ids, ...outputs], target);
  const [V = 0, D = 0] = table.shape;
  const unit = D % 4 === 0 ? 4 : 1;
  const type = unit === 4 ? "vec4f" : "f32";
  const half = table.dtype === "f16";
  const [words, load] = half
    ? unit === 4
      ? ["vec2u", "vec4f(unpack2x16float(table[place].x), unpack2x16float(table[place].y))"]
      : ["u32", "unpack2x16float(table[place / 2u])[place % 2u]"]
    : [type, "table[place]"];
  const count = (sizeOf(ids.shape) * D) / unit;
  const dispatches = blocksOf(table, target).map(({ first, count: rows, range }) =>
    dispatch({
      label: `gather ${table.dtype}`,
      bindings: [
        { name: "table", type: words, operand: input(0, range) },
        { name: "ids", type: "i32", operand: input(1) },
        { name: "y", type, operand: output(0) },
      ],
      sizes: { count, width: D / unit, first, rows, vocabulary: V },
      workgroups: itemGroups(count, target),
      code: eachItem(wgsl`
        let id = ids[i / sizes.width];
        let row = u32(id) - sizes.first;
        if (id >= i32(sizes.first) && row < sizes.rows) {
          let place = row * sizes.width + i % sizes.width;
          y[i] = ${load};
        } else if (sizes.first == 0u && (id < 0 || u32(id) >= sizes.vocabulary)) {
          y[i] = ${type}();
        }`),
    }),
  );
  return { dispatches };
}

/**
 * dy [..., D], ids → [V, D]: zeros, then the first position of each id adds up all positions with it, in their order.
 * Positions of one id are linked to each other, so that the work grows with their number and not with its square.
 */
export function gatherGradLowering({ inputs, outputs }: Spec, target: Target): Lowering {
  const [dy, ids] = inputs as readonly [Aval, Aval]; // dy and ids
  const [y] = outputs as readonly [Aval];
  const [N, V, D] = [sizeOf(ids.shape), y.shape[0] ?? 0, y.shape[1] ?? 0];
  const clear = lowerLoop(
    {
      label: "gatherGrad clear",
      size: sizeOf(y.shape),
      reads: [],
      write: { operand: output(0), aval: y, walk: flat(sizeOf(y.shape)) },
      body: (_, { type }) => ({ lines: [], value: `${type}()` }),
    },
    target,
  );
  const [heads, chain]: readonly [Aval, Aval] = [
    { shape: [V], dtype: "u32" },
    { shape: [N], dtype: "u32" },
  ];
  const add = blocksOf(y, target).map(({ first, count, range }) =>
    lowerRows(
      {
        label: "gatherGrad",
        rows: N,
        width: D,
        operands: [
          { name: "dy", type: "V", aval: dy, operand: input(0) },
          { name: "ids", type: "i32", aval: ids, operand: input(1) },
          { name: "heads", type: "u32", aval: heads, operand: scratch(0, "read") },
          { name: "chain", type: "u32", aval: chain, operand: scratch(1, "read") },
          { name: "y", type: "V", aval: { shape: [count, D], dtype: "f32" }, operand: output(0, range) },
        ],
        sizes: { start: first, count },
        body: () => wgsl`
          let id = ids[row];
          if (id < i32(sizes.start) || u32(id) - sizes.start >= sizes.count || heads[id] != row) { return; }
          for (var i = lane; i < sizes.width; i += LANES) {
            var sum = V();
            for (var j = row; j < sizes.rows; j = chain[j]) { sum += dy[j * sizes.width + i]; }
            y[(u32(id) - sizes.start) * sizes.width + i] = sum;
          }`,
      },
      target,
    ),
  );
  return { dispatches: [...clear, ...linkEqual(N, V, target), ...add], scratch: [4 * V, 4 * N] };
}

/** Positions that are linked at a time. */
const LINKED = 64;

/**
 * heads[id] = the first position with that id, or N; chain[i] = the next position with the id of position i, or N.
 *
 * One workgroup goes through the positions from the last to the first, 64 at a time: each looks for its id among them, and
 * the last of an id finds the positions behind them in `heads`.
 */
const linkEqual = (N: number, V: number, target: Target): readonly Dispatch[] => [
  dispatch({
    label: "gatherGrad heads",
    bindings: [{ name: "heads", type: "u32", operand: scratch(0, "write") }],
    sizes: { count: V, none: N },
    workgroups: itemGroups(V, target),
    code: eachItem("heads[i] = sizes.none;"),
  }),
  dispatch({
    label: "gatherGrad chain",
    bindings: [
      { name: "ids", type: "i32", operand: input(1) },
      { name: "heads", type: "u32", operand: scratch(0, "write") },
      { name: "chain", type: "u32", operand: scratch(1, "write") },
    ],
    sizes: { count: N, vocabulary: V },
    workgroups: [1, 1, 1],
    code: wgsl`
      var<workgroup> near: array<i32, ${LINKED}>;
      @compute @workgroup_size(${LINKED})
      fn main(@builtin(local_invocation_index) thread: u32) {
        for (var end = (sizes.count + ${LINKED - 1}u) / ${LINKED}u * ${LINKED}u; end > 0u; end -= ${LINKED}u) {
          let i = end - ${LINKED}u + thread;
          var id = -1;
          if (i < sizes.count) { id = ids[i]; }
          near[thread] = id;
          workgroupBarrier();
          var first = id >= 0 && u32(id) < sizes.vocabulary;
          if (first) {
            var next = thread + 1u;
            while (next < ${LINKED}u && near[next] != id) { next++; }
            if (next < ${LINKED}u) { chain[i] = end - ${LINKED}u + next; } else { chain[i] = heads[id]; }
            for (var j = 0u; first && j < thread; j++) { first = near[j] != id; }
          }
          // Heads are read by the last positions of an id and written by the first ones.
          storageBarrier();
          if (first) { heads[id] = i; }
          storageBarrier();
        }
      }`,
  }),
];
