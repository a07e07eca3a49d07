/** @file The public surface of @graftml/tensor. */
export { bytesPerElement, type DType } from "./dtype.ts";
export { dynamicTable, middles } from "./dynamic-table.ts";
export { bitsOf, codeLengths, decodeCodes, type DequantizeAttrs, type Encoding } from "./encoding.ts";
export { DeviceError, GraftError, ShapeError, TraceError } from "./errors.ts";
export { type Aval, sameShape, type Shape, show, sizeOf, stridesOf } from "./shape.ts";
export { apply, applyAll, type Node, type Precision, record, type Region, type Tensor, Trace } from "./tensor.ts";
export { checkpoint } from "./trace/checkpoint.ts";
export { grad } from "./trace/grad.ts";
export { print, reachable } from "./trace/graph.ts";
export { gelu, geluErf, relu, sigmoid, silu, softplus, tanh } from "./ops/activations.ts";
export { assign } from "./ops/assign.ts";
export { attention, type AttentionAttrs, type AttentionDropout } from "./ops/attention.ts";
export { type Codes, dequantize } from "./ops/dequantize.ts";
export { crossEntropy, IGNORE, linearCrossEntropy } from "./ops/cross-entropy.ts";
export {
  abs,
  add,
  cast,
  clamp,
  detach,
  div,
  elementwise,
  exp,
  fill,
  less,
  log,
  maximum,
  minimum,
  mul,
  scale,
  shift,
  sqrt,
  square,
  sub,
  where,
} from "./ops/elementwise.ts";
export { gather } from "./ops/gather.ts";
export { concat, reshape, slice, split, transpose, updateRows } from "./ops/layout.ts";
export { leaf, type LeafAttrs } from "./ops/leaf.ts";
export { linear, matmul, type MatmulLayout } from "./ops/linear.ts";
export { layerNorm, rmsNorm } from "./ops/norm.ts";
export type { InlineContext, Lowering, Op, Spec, Value, VjpContext } from "./ops/op.ts";
export { dropout, keyOf, uniform, uniformAt } from "./ops/random.ts";
export { mean, sum, sumTo } from "./ops/reduce.ts";
export { rope } from "./ops/rope.ts";
export { type Dispatch, f32, grid, input, type Kernel, type Operand, output, scratch } from "./kernels/kernel.ts";
export type { Target } from "./kernels/target.ts";
export { type Literal, run } from "./run.ts";
export { Device, type DeviceOptions, requestDevice } from "./runtime/device.ts";
export { type DeviceRuntime, deviceRuntime } from "./runtime/gpu-runtime.ts";
export { f16ToNumber, hostRuntime } from "./runtime/host.ts";
export { planningRuntime } from "./runtime/planner.ts";
export type { DeviceProgram } from "./runtime/program.ts";
export type { ProfileRow } from "./runtime/profile.ts";
export { BUCKET_BLOCK, deviceBytes, OFFLOADED } from "./runtime/runtime.ts";
export type {
  Bucket,
  Declaration,
  Given,
  Member,
  MemoryPlan,
  Outputs,
  Program,
  Runtime,
  Source,
  Store,
  Values,
} from "./runtime/runtime.ts";
