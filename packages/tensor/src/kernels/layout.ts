import type { Lowering } from "../ops/op.ts";
export const sliceLowering = (..._: readonly unknown[]): Lowering => { throw new Error("sliceLowering"); };
export const concatLowering = (..._: readonly unknown[]): Lowering => { throw new Error("concatLowering"); };
export const transposeLowering = (..._: readonly unknown[]): Lowering => { throw new Error("transposeLowering"); };
export const updateRowsLowering = (..._: readonly unknown[]): Lowering => { throw new Error("updateRowsLowering"); };
