import type { Lowering } from "../ops/op.ts";
export const gatherLowering = (..._: readonly unknown[]): Lowering => { throw new Error("gatherLowering"); };
export const gatherGradLowering = (..._: readonly unknown[]): Lowering => { throw new Error("gatherGradLowering"); };
