/** @file What a run needs of a device's memory, known before anything is allocated. */
import type { MemoryPlan, Outputs, Trace } from "@graftml/tensor";
import { measures } from "./pausing.ts";
import { traceGradients, tracePass, traceUpdate } from "./program.ts";
import { type Resolved, resolve } from "./resolved.ts";
import { longestOf } from "./rows.ts";
import type { Run } from "./run.ts";
import type { BatchShape } from "./task.ts";

/** The traced functions of a run, at the shape of a batch. */
export interface Builds {
  /** Forward and backward of a micro-batch, and with it the update where a step has just one. */
  readonly gradients: (shape: BatchShape) => (trace: Trace) => Outputs;
  /** Forward and backward alone, for methods that measure gradients between steps; null where none does. */
  readonly measured: ((shape: BatchShape) => (trace: Trace) => Outputs) | null;
  /** The update alone; null where `gradients` has it. */
  readonly update: ((trace: Trace) => Outputs) | null;
}

/** A step is one program, or, with several micro-batches, two that share the bucket of gradients. */
export function buildsOf<Batch, Row>(run: Resolved<Batch, Row>): Builds {
  const { layers, buckets, accumulate } = run;
  const accumulating = accumulate > 1;
  const update = (trace: Trace): Outputs => traceUpdate(trace, buckets, run);
  const alone = (shape: BatchShape) => (trace: Trace) =>
    traceGradients(trace, run, layers, shape, buckets, { accumulating: false });
  return {
    measured: measures(run) ? alone : null,
    gradients: (shape) => (trace) => ({
      ...traceGradients(trace, run, layers, shape, buckets, { accumulating }),
      ...(accumulating ? {} : update(trace)),
    }),
    update: accumulating ? update : null,
  };
}

/**
 * Bytes by kind that a run needs at its most: its longest batch, in training and in evaluation. Programs never run at the
 * same time and share what they need for activations, so each kind is the largest of any program.
 */
export function planRun<Batch, Row>(run: Run<Batch, Row>): MemoryPlan {
  const resolved = resolve(run);
  const { runtime, store, rows, heldOut = [], shapeFor, layers } = resolved;
  const { gradients, update } = buildsOf(resolved);
  const evaluation = (trace: Trace): Outputs => {
    const { census: _, ...outputs } = tracePass(trace, resolved, layers, shapeFor(longestOf(heldOut)), {
      train: false,
    });
    return outputs;
  };
  const plans = [
    gradients(shapeFor(longestOf(rows))),
    ...(update === null ? [] : [update]),
    ...(heldOut.length > 0 ? [evaluation] : []),
  ].map((build) => runtime.plan(store, build));
  const kinds = new Set(plans.flatMap((plan) => Object.keys(plan)));
  return Object.fromEntries([...kinds].map((kind) => [kind, Math.max(...plans.map((plan) => plan[kind] ?? 0))]));
}
