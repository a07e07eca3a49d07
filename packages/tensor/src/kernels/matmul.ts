import type { Lowering } from "../ops/op.ts";
export const matmulLowering = (..._: readonly unknown[]): Lowering => { throw new Error("matmulLowering"); };
