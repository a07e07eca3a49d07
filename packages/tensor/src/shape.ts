/** @file Arithmetic on shapes: sizes, strides, broadcasting. */
import type { DType } from "./dtype.ts";
import { ShapeError } from "./errors.ts";

/** Lengths of the axes, outermost first; row-major. */
export type Shape = readonly number[];

/** What is known of a tensor without its values. */
export interface Aval {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Number of elements. */
export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i] ?? 1;
  }
  return strides;
}

/** Whether two shapes are the same. */
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

/** Length of `axis`, which may be negative (counted from the end). */
export function lengthOf(shape: Shape, axis: number): number {
  const n = shape[axis < 0 ? axis + shape.length : axis];
  if (n === undefined) throw new ShapeError(`shape ${show(shape)} has no axis ${axis}.`);
  return n;
}

/** `[4, 512, 768]` */
export const show = (shape: Shape): string => `[${shape.join(", ")}]`;

/**
 * The shape that `a` and `b` broadcast to, aligned at the last axis; lengths must agree or be 1.
 * @throws {ShapeError} naming `op` and both shapes.
 */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(`${op}: ${show(a)} and ${show(b)} do not broadcast: axis ${i - rank} has ${x} and ${y}.`);
    return x === 1 ? y : x;
  });
}

/**
 * Strides with which an operand of shape `from` is read at every index of `to`: 0 where it is repeated.
 */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const strides = stridesOf(from);
  const lead = to.length - from.length;
  return to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : (strides[i - lead] ?? 0)));
}

/** Axis counted from the front. @throws {ShapeError} if there is no such axis. */
export function normalizeAxis(op: string, shape: Shape, axis: number): number {
  const i = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(i) || i < 0 || i >= shape.length)
    throw new ShapeError(`${op}: axis ${axis} is not an axis of ${show(shape)}.`);
  return i;
}
