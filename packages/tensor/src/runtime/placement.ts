/** @file Decides where values live: leaves in their buffers, assigned values in the parameter itself where that is safe. */
import { bytesPerElement } from "../dtype.ts";
import { assignOp } from "../ops/assign.ts";
import { leaf } from "../ops/leaf.ts";
import { type Aval, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Step } from "../trace/fuse.ts";
import type { Stretch } from "../trace/memory.ts";

/** Where values live. */
export interface Placement {
  /** The steps with work to do: no leaves, no views, no assignment whose value is made in place. */
  readonly steps: readonly Step[];
  /** The value whose memory a tensor has: itself, or what it is a view or an update of. */
  readonly root: (t: Tensor) => Tensor;
  /** The named buffer that a root lives in; undefined for a value that needs a slot. */
  readonly place: (root: Tensor) => Stretch | undefined;
}

/** Bytes of a value. */
export const bytesOf = ({ shape, dtype }: Aval): number => sizeOf(shape) * bytesPerElement[dtype];

/** Whether a step touches memory: leaves are there, and views are another shape of what is there. */
const works = ({ op }: Step): boolean => op !== leaf && (op.aliases === undefined || op.updates === true);

const overlap = (a: Stretch, b: Stretch): boolean => a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;

/**
 * Places the values of a program.
 *
 * `assign(p, v)` costs nothing where the step that makes v can write to p's memory at once. That is so unless
 * - v is a leaf, or is already placed in another parameter;
 * - p's memory is read or written between the step that makes v and the assignment;
 * - p's memory is changed again before the last reader of v;
 * - one step would read and write the buffer that p is part of, which WebGPU forbids even for separate stretches.
 *
 * @param outputs values read at the end of the run.
 * @param leafPlace where a leaf lives.
 */
export function place(
  steps: readonly Step[],
  outputs: readonly Tensor[],
  leafPlace: (t: Tensor) => Stretch,
): Placement {
  const made = new Map<Tensor, { readonly step: Step; readonly at: number }>();
  steps.forEach((step, at) => step.op !== leaf && step.outputs.forEach((t) => made.set(t, { step, at })));

  const roots = new Map<Tensor, Tensor>();
  const root = (t: Tensor): Tensor => {
    let r = roots.get(t);
    if (r === undefined) {
      const step = made.get(t)?.step;
      const source = step?.op.aliases?.[step.outputs.indexOf(t)];
      const input = source === undefined ? undefined : step?.inputs[source];
      r = input === undefined ? t : root(input);
      roots.set(t, r);
    }
    return r;
  };

  const places = new Map<Tensor, Stretch>();
  const placeOf = (t: Tensor): Stretch | undefined => {
    const r = root(t);
    if (!made.has(r) && !places.has(r)) places.set(r, leafPlace(r));
    return places.get(r);
  };

  const readers = new Map<Tensor, number[]>();
  steps.forEach((step, at) => {
    if (!works(step)) return;
    for (const t of step.inputs) {
      const list = readers.get(root(t));
      if (list === undefined) readers.set(root(t), [at]);
      else list.push(at);
    }
  });
  const kept = new Set(outputs.map(root));
  /** Which steps read or write what lies in a buffer, in no order. */
  const touched = new Map<string, { readonly at: number; readonly place: Stretch; readonly written: boolean }[]>();
  const touch = (at: number, t: Tensor, written: boolean): void => {
    const p = placeOf(t);
    if (p === undefined) return;
    const list = touched.get(p.buffer);
    if (list === undefined) touched.set(p.buffer, [{ at, place: p, written }]);
    else list.push({ at, place: p, written });
  };
  steps.forEach((step, at) => {
    if (!works(step)) return;
    for (const t of step.inputs) touch(at, t, false);
    for (const t of step.outputs) touch(at, t, true);
  });
  /** Whether one of the steps from..to touches a stretch, or, if so told, writes to it. */
  const isTouched = (p: Stretch, from: number, to: number, { written }: { readonly written: boolean }): boolean =>
    (touched.get(p.buffer) ?? []).some(
      (use) => use.at >= from && use.at <= to && (use.written || !written) && overlap(use.place, p),
    );
  const usesBuffer = (tensors: readonly Tensor[], { buffer }: Stretch): boolean =>
    tensors.some((t) => placeOf(t)?.buffer === buffer);

  /** Where the assignment at step `at` may have its value made. */
  const direct = (at: number): Stretch | undefined => {
    const [target, value] = (steps[at] as Step).inputs;
    if (target === undefined || value === undefined) return undefined;
    const p = placeOf(target);
    const source = root(value);
    const maker = made.get(source);
    if (p === undefined || maker === undefined || places.has(source) || bytesOf(source) !== p.bytes) return undefined;
    if (usesBuffer(maker.step.inputs, p)) return undefined;
    if (isTouched(p, maker.at, at - 1, { written: false })) return undefined;
    const uses = readers.get(source) ?? [];
    const end = kept.has(source) ? steps.length - 1 : Math.max(at, ...uses);
    if (isTouched(p, at + 1, end, { written: true })) return undefined;
    const conflict = uses.some((k) => k !== at && usesBuffer((steps[k] as Step).outputs, p));
    return conflict ? undefined : p;
  };

  const free = new Set<number>();
  steps.forEach((step, at) => {
    if (step.op !== assignOp) return;
    const p = direct(at);
    if (p === undefined) return;
    const value = root(step.inputs[1] as Tensor); // an assignment has two inputs
    places.set(value, p);
    for (const reader of readers.get(value) ?? []) touch(reader, value, false);
    touch(made.get(value)?.at ?? at, value, true);
    free.add(at);
  });
  return {
    steps: steps.filter((step, at) => works(step) && !free.has(at)),
    root,
    place: placeOf,
  };
}
