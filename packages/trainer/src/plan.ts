/** @file What a run needs of a device's memory, known before anything is allocated. */
import { deviceBytes, type MemoryPlan, type Outputs, type Trace } from "@graftml/tensor";
import { measures } from "./pausing.ts";
import { traceGradients, tracePass, traceUpdate, updatesApart } from "./program.ts";
import { type Resolved, resolve } from "./resolved.ts";
import { longestOf } from "./rows.ts";
import type { Run } from "./run.ts";
import type { BatchShape } from "./task.ts";
import type { Update } from "./updates.ts";

/** The traced functions of a run, at the shape of a batch. */
export interface Builds {
  /** Forward and backward of a micro-batch, and with it the update where a step has just one. */
  readonly gradients: (shape: BatchShape) => (trace: Trace) => Outputs;
  /** Forward and backward alone, for methods that measure gradients between steps; null where none does. */
  readonly measured: ((shape: BatchShape) => (trace: Trace) => Outputs) | null;
  /** The update alone, in one program or several; none where `gradients` has it. */
  readonly updates: readonly Update[];
}

/**
 * A step is one program, or, with several micro-batches, two that share the bucket of gradients. Where what the optimizer
 * remembers may be parked, every bucket has an update of its own.
 */
export function buildsOf<Batch, Row>(run: Resolved<Batch, Row>): Builds {
  const { layers, buckets, accumulate, pagedOptimizer } = run;
  const accumulating = accumulate > 1;
  const together = !accumulating && !pagedOptimizer;
  const update = (trace: Trace): Outputs => traceUpdate(trace, buckets, run);
  const alone = (shape: BatchShape) => (trace: Trace) =>
    traceGradients(trace, run, layers, shape, buckets, { accumulating: false });
  return {
    measured: measures(run) ? alone : null,
    gradients: (shape) => (trace) => ({
      ...traceGradients(trace, run, layers, shape, buckets, { accumulating }),
      ...(together ? update(trace) : {}),
    }),
    updates: together ? [] : pagedOptimizer ? updatesApart(buckets, run) : [{ build: update, state: [] }],
  };
}

/**
 * Bytes by kind that a run needs at its most: its longest batch, in training and in evaluation. Programs never run at the
 * same time and share what they need for activations, so each kind is the largest of any program. With a paged optimizer it is
 * what the run cannot do without: then activations and what the optimizer remembers are not there at the same time.
 */
export function planRun<Batch, Row>(run: Run<Batch, Row>): MemoryPlan {
  const resolved = resolve(run);
  const { runtime, store, rows, heldOut = [], shapeFor, layers } = resolved;
  const { gradients, updates } = buildsOf(resolved);
  const evaluation = (trace: Trace): Outputs => {
    const { census: _, ...outputs } = tracePass(trace, resolved, layers, shapeFor(longestOf(heldOut)), {
      train: false,
    });
    return outputs;
  };
  const plans = [
    gradients(shapeFor(longestOf(rows))),
    ...updates.map(({ build }) => build),
    ...(heldOut.length > 0 ? [evaluation] : []),
  ].map((build) => runtime.plan(store, build));
  const kinds = [...new Set(plans.flatMap((plan) => Object.keys(plan)))];
  const most = Object.fromEntries(kinds.map((kind) => [kind, Math.max(...plans.map((plan) => plan[kind] ?? 0))]));
  if (!resolved.pagedOptimizer) return most;
  return plans
    .map(({ activations = 0, optimizer = 0 }): MemoryPlan => ({ ...most, activations, optimizer }))
    .reduce((a, b) => (deviceBytes(b) > deviceBytes(a) ? b : a));
}
