/** @file Values for tests. */
import { type Shape, sizeOf } from "../src/shape.ts";

/** Reproducible values in (−1, 1). */
export function noise(shape: Shape, seed = 1): Float64Array {
  let s = (seed * 2654435761) >>> 0;
  return new Float64Array(sizeOf(shape)).map(() => {
    s = (Math.imul(s ^ (s >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return Math.fround((Math.imul(s ^ (s >>> 13), 0x297a2d39) >>> 0) / 2 ** 31 - 1);
  });
}
