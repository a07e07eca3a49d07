/** @file Rows of a table by index, and the gradient that adds rows up again. */

import { ShapeError } from "../errors.ts";
import { gatherGradLowering, gatherLowering } from "../kernels/gather.ts";
import { show, sizeOf } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { reshape } from "./layout.ts";
import type { Op } from "./op.ts";

type None = Record<never, never>;

const gatherOp: Op<None> = {
  name: "gather",
  infer([table, ids]) {
    if (table!.shape.length !== 2 || ids!.dtype !== "i32")
      throw new ShapeError(`gather: table ${show(table!.shape)}, ids ${ids!.dtype}: wants [V, D] and i32.`);
    return [{ shape: [...ids!.shape, table!.shape[1]!], dtype: "f32" }];
  },
  reference([table, ids], { inputs: [aval] }) {
    const [V, D] = aval!.shape as [number, number];
    const y = new Float64Array(ids!.length * D);
    ids!.forEach((id, i) => {
      if (id >= 0 && id < V) y.set(table!.subarray(id * D, (id + 1) * D), i * D);
    });
    return [y];
  },
  kernel: (spec, target) => gatherLowering(spec, target),
  vjp: (c) => [
    c.needs(0) ? apply(gatherGradOp, [c.cotangent(0), c.input(1)], { rows: c.node.inputs[0]!.shape[0]! }) : null,
    null,
  ],
};

const gatherGradOp: Op<{ readonly rows: number }> = {
  name: "gatherGrad",
  infer: ([dy], { rows }) => [{ shape: [rows, dy!.shape.at(-1)!], dtype: "f32" }],
  reference([dy, ids], { outputs: [out] }) {
    const [V, D] = out!.shape as [number, number];
    const y = new Float64Array(sizeOf(out!.shape));
    ids!.forEach((id, i) => {
      if (id >= 0 && id < V) for (let d = 0; d < D; d++) y[id * D + d]! += dy![i * D + d]!;
    });
    return [y];
  },
  kernel: (spec, target) => gatherGradLowering(spec, target),
};

/**
 * Rows of a table: table [V, ...], ids i32 [...] → [..., ...]: what a row is, vector or matrix, follows the axes of the ids.
 * Ids outside 0 … V − 1 give zeros. The gradient adds rows with the same id in the order of their position, without
 * atomics: the same bits every time.
 * @throws {ShapeError} if the table is a scalar, or the ids are not i32.
 */
export function gather(table: Tensor, ids: Tensor): Tensor {
  const [rows = 0, ...row] = table.shape;
  const y = apply(gatherOp, [row.length === 1 ? table : reshape(table, [rows, sizeOf(row)]), ids], {});
  return reshape(y, [...ids.shape, ...row]);
}
