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

/** Marks positions that are not the first with their id. */
const LATER = "0x80000000u";

/** dy [..., D], ids → [V, D]: zeros, then the first position of each id adds up all positions with it, in their order. */
export function gatherGradLowering({ inputs, outputs }: Spec, target: Target): Lowering {
  const [dy, ids] = inputs as readonly [Aval, Aval]; // dy and ids
  const [y] = outputs as readonly [Aval];
  const [N, D] = [sizeOf(ids.shape), y.shape[1] ?? 0];
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
  const chain: Aval = { shape: [N], dtype: "u32" };
  const add = blocksOf(y, target).map(({ first, count, range }) =>
    lowerRows(
      {
        label: "gatherGrad",
        rows: N,
        width: D,
        operands: [
          { name: "dy", type: "V", aval: dy, operand: input(0) },
          { name: "ids", type: "i32", aval: ids, operand: input(1) },
          { name: "chain", type: "u32", aval: chain, operand: scratch(0, "read") },
          { name: "y", type: "V", aval: { shape: [count, D], dtype: "f32" }, operand: output(0, range) },
        ],
        sizes: { start: first, count },
        body: () => wgsl`
          let id = ids[row];
          if (id < i32(sizes.start) || u32(id) - sizes.start >= sizes.count || chain[row] >= ${LATER}) { return; }
          for (var i = lane; i < sizes.width; i += LANES) {
            var sum = V();
            for (var j = row; j < sizes.rows; j = chain[j] & ~${LATER}) { sum += dy[j * sizes.width + i]; }
            y[(u32(id) - sizes.start) * sizes.width + i] = sum;
          }`,
      },
      target,
    ),
  );
  return { dispatches: [...clear, linkEqual(N, target), ...add], scratch: [4 * N] };
}

/** chain[i] = the next position with the id of position i, or N; marked if an earlier position has it too. */
const linkEqual = (N: number, target: Target): Dispatch =>
  dispatch({
    label: "gatherGrad chain",
    bindings: [
      { name: "ids", type: "i32", operand: input(1) },
      { name: "chain", type: "u32", operand: scratch(0, "write") },
    ],
    sizes: { count: N },
    workgroups: itemGroups(N, target),
    code: eachItem(wgsl`
      let id = ids[i];
      var mark = 0u;
      for (var j = 0u; j < i; j++) {
        if (ids[j] == id) {
          mark = ${LATER};
          break;
        }
      }
      var next = i + 1u;
      while (next < sizes.count && ids[next] != id) { next++; }
      chain[i] = mark | next;`),
  });
