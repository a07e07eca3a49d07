import type { Lowering } from "../ops/op.ts";
export const rmsNormLowering = (..._: readonly unknown[]): Lowering => { throw new Error("rmsNormLowering"); };
export const rmsNormGradLowering = (..._: readonly unknown[]): Lowering => { throw new Error("rmsNormGradLowering"); };
export const layerNormLowering = (..._: readonly unknown[]): Lowering => { throw new Error("layerNormLowering"); };
export const layerNormGradLowering = (..._: readonly unknown[]): Lowering => { throw new Error("layerNormGradLowering"); };
