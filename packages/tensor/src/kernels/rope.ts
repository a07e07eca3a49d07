import type { Lowering } from "../ops/op.ts";
export const ropeLowering = (..._: readonly unknown[]): Lowering => { throw new Error("ropeLowering"); };
