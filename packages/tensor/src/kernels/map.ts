import type { Lowering } from "../ops/op.ts";
export const mapLowering = (..._: readonly unknown[]): Lowering => { throw new Error("mapLowering"); };
export const assignLowering = (..._: readonly unknown[]): Lowering => { throw new Error("assignLowering"); };
