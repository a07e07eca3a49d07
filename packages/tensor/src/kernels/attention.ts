import type { Lowering } from "../ops/op.ts";
export const attentionLowering = (..._: readonly unknown[]): Lowering => { throw new Error("attentionLowering"); };
export const attentionGradQLowering = (..._: readonly unknown[]): Lowering => { throw new Error("attentionGradQLowering"); };
export const attentionGradKVLowering = (..._: readonly unknown[]): Lowering => { throw new Error("attentionGradKVLowering"); };
