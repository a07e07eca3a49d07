import type { Lowering } from "../ops/op.ts";
export const uniformLowering = (..._: readonly unknown[]): Lowering => { throw new Error("uniformLowering"); };
