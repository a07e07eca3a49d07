/** @file Writing a value into a parameter. */

import { ShapeError, TraceError } from "../errors.ts";
import { assignLowering } from "../kernels/map.ts";
import { sameShape, show } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { leaf } from "./leaf.ts";
import type { Op } from "./op.ts";

/** Writes input 1 over the parameter that input 0 is. */
export const assignOp: Op<Record<never, never>> = {
  name: "assign",
  infer([target, value]) {
    if (!sameShape(target!.shape, value!.shape) || target!.dtype !== value!.dtype)
      throw new ShapeError(
        `assign: a ${value!.dtype} ${show(value!.shape)} does not fit the parameter, ${target!.dtype} ${show(target!.shape)}.`,
      );
    return [target!];
  },
  reference([target, value]) {
    target!.set(value!);
    return [target!];
  },
  kernel: (spec, target) => assignLowering(spec, target),
  aliases: [0],
  updates: true,
};

/**
 * Gives a parameter the value it has after the run. Returns the parameter after the update.
 * @throws {TraceError} if `target` is no parameter.
 */
export function assign(target: Tensor, value: Tensor): Tensor {
  if (target.node.op.name !== leaf.name)
    throw new TraceError(`assign: the target must be a parameter, not the result of ${target.node.op.name}.`);
  return apply(assignOp, [target, value], {});
}
