/** @file What an op is: shape, value, kernel and gradient in one place. */
import type { Dispatch } from "../kernels/kernel.ts";
import type { Target } from "../kernels/target.ts";
import type { Aval } from "../shape.ts";
import type { Node, Tensor } from "../tensor.ts";

/** Values of a tensor in the interpreter: float64 whatever the dtype; integers are exact. */
export type Value = Float64Array;

/** What a kernel or a reference is told besides values. */
export interface Spec<A = unknown> {
  readonly inputs: readonly Aval[];
  readonly outputs: readonly Aval[];
  readonly attrs: A;
}

/** What lowering an op yields: dispatches in order, and the scratch buffers they share. */
export interface Lowering {
  readonly dispatches: readonly Dispatch[];
  /** Bytes of each scratch buffer; alive only during this op. */
  readonly scratch?: readonly number[];
}

/**
 * An operation, as four facts in one place. Third parties define their own and use them exactly like ours: nothing is
 * registered.
 */
export interface Op<A = unknown> {
  readonly name: string;
  /** Result shapes and dtypes. @throws {ShapeError} naming the op, both shapes and the axis. */
  infer(inputs: readonly Aval[], attrs: A): readonly Aval[];
  /** The definition in float64, as a plain loop. Slow and obvious; every kernel is tested against it. */
  reference(inputs: readonly Value[], spec: Spec<A>): readonly Value[];
  /** The same in WGSL: one or more dispatches; the kernel is chosen by adapter class and shape class. */
  kernel(spec: Spec<A>, target: Target): Lowering;
  /** Cotangents of the inputs, written with ops; null where there is none. */
  vjp?(context: VjpContext<A>): readonly (Tensor | null)[];
  /** This op as a WGSL expression of its inputs at one index, so that a consumer may inline it. */
  readonly inline?: (args: readonly string[], attrs: A, at: InlineContext) => string;
  /**
   * Output i shares the memory of input `aliases[i]`. Without `updates` it is a view of the same values (reshape); with
   * it, the op writes that memory in place, and the input must be a parameter that nothing reads afterwards.
   */
  readonly aliases?: readonly number[];
  readonly updates?: boolean;
}

/** Where an inlined expression stands. */
export interface InlineContext {
  /** "f32" or "vec4f": expressions must hold for both. */
  readonly type: string;
  /** Expression of the flat output index as u32, or as vec4u where type is vec4f. */
  readonly index: string;
}

/** What a gradient rule sees. Values of a checkpointed region are recomputed when first asked for. */
export interface VjpContext<A> {
  readonly attrs: A;
  readonly node: Node;
  /** Whether the cotangent of input i is wanted. */
  needs(i: number): boolean;
  /** Input i as a value that may be used in the backward pass. */
  input(i: number): Tensor;
  /** Output i likewise (a norm's saved statistics). */
  output(i: number): Tensor;
  /** Cotangent of output i; zeros if nothing depends on it. */
  cotangent(i: number): Tensor;
}
