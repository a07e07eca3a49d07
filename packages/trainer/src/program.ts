/** @file The traced functions of training: how an adapter is trained is all here. */
import { type Census, contextTaken, type Layer, openScope, type Progress } from "@graftml/peft";
import { add, assign, fill, grad, mul, type Outputs, type Tensor, Trace, where } from "@graftml/tensor";
import { CLIP, gradientOf, shapeIn, type TrainedBucket } from "./buckets.ts";
import { clipFactor, globalNorm } from "./clip.ts";
import { BLOCK } from "./optim/chunks.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import type { Rows } from "./rows.ts";
import { dtypesOf, type Setting } from "./run.ts";
import type { BatchShape, Outcome } from "./task.ts";
import type { Update } from "./updates.ts";

/** What tracing the forward pass once, without a device, tells of a model and its adapters. */
export interface Facts {
  /** Rows that methods put before the real ones. */
  readonly lead: number;
  /** Tokens that a row may have: the model's positions, less those that methods take. */
  readonly room: number;
  /** Values that methods compute on the host at every step, by the names of the programs' inputs. */
  readonly scalars: ReadonlyMap<string, (progress: Progress) => number>;
}

/** Traces a forward pass over one short row. */
export function factsOf<Batch, Row>({ model }: Setting<Batch, Row>, layers: readonly Layer[]): Facts {
  const trace = new Trace();
  const scope = openScope(trace, layers, { train: true, model: model.info });
  const length = Math.min(8, model.info.maxLength);
  const batch = model.inputs(trace, { batch: 1, length });
  const hidden = model.forward(scope, batch);
  model.head(scope, hidden, batch);
  const room = model.info.maxLength - contextTaken(model, layers);
  return { lead: (hidden.shape[1] ?? length) - length, room, scalars: scope.census.scalars };
}

/** @throws {DataError} for the first row that the task cannot use; rows are numbered from 0. */
export function checkRows<Batch, Row>(
  { task, model }: Setting<Batch, Row>,
  rows: Rows<Row>,
  numbers: Iterable<number>,
  name: string,
  { lead, room }: Facts,
): void {
  for (const number of numbers)
    task.check(rows.at(number) as Row, `${name} ${number}`, { model: model.info, lead, room }); // numbers are of rows
}

/** What a forward pass over a batch comes to, and what was met on the way to it. */
export function tracePass<Batch, Row>(
  trace: Trace,
  { model, store, task, precision = "f32" }: Setting<Batch, Row>,
  layers: readonly Layer[],
  shape: BatchShape,
  { train }: { readonly train: boolean },
): Outcome & { readonly census: Census } {
  trace.precision = precision;
  const scope = openScope(trace, layers, { train, model: model.info, dtypeOf: dtypesOf(store) });
  const batch = model.inputs(trace, shape);
  const hidden = model.forward(scope, batch);
  return { ...task.outcome({ trace, scope, model, batch, shape, hidden }), census: scope.census };
}

/**
 * Forward and backward of one micro-batch. Its share of the step's loss is Σ losses · loss_weight + Σ penalties ·
 * penalty_weight, so that shares add up to a mean over the labels of the whole step; gradients of shares are added up in
 * the bucket of gradients.
 *
 * @param add whether gradients are added to those already there (where the input `keep` is 1) instead of replacing them.
 */
export function traceGradients<Batch, Row>(
  trace: Trace,
  setting: Setting<Batch, Row>,
  layers: readonly Layer[],
  shape: BatchShape,
  buckets: readonly TrainedBucket[],
  { accumulating }: { readonly accumulating: boolean },
): Outputs {
  const weight = (name: string): Tensor => trace.input(name, []);
  const { loss: labelled, census } = tracePass(trace, setting, layers, shape, { train: true });
  const penalties = census.penalties.map((penalty) => mul(penalty, weight("penalty_weight")));
  const loss = [mul(labelled, weight("loss_weight")), ...penalties].reduce(add);
  const members = buckets.flatMap(({ bucket }) => bucket.members);
  const gradients = grad(
    loss,
    members.map(({ name, shape }) => trace.param(name, shape)),
  );
  members.forEach(({ name, shape }, i) => {
    const gradient = gradients[i] ?? fill(trace, shape, 0);
    const sum = trace.param(gradientOf(name), shape);
    const kept = (): Tensor => where(weight("keep"), sum, fill(trace, [], 0));
    trace.within(gradientOf(name), () => assign(sum, accumulating ? add(kept(), gradient) : gradient));
  });
  return { loss };
}

/** What the optimizer is and how far gradients are clipped. */
interface Stepping {
  readonly optimizer: Optimizer;
  readonly maxGradNorm: number;
}

/** One step of the optimizer from the gradients as they are: norm, clipping, update of every bucket in place. */
export function traceUpdate(trace: Trace, buckets: readonly TrainedBucket[], stepping: Stepping): Outputs {
  const { norm, clip } = traceNorm(trace, buckets, stepping);
  for (const bucket of buckets) traceBucket(trace, bucket, clip, stepping);
  return { grad_norm: norm };
}

/** The norm of all gradients, and the factor that clips them. */
function traceNorm(trace: Trace, buckets: readonly TrainedBucket[], { maxGradNorm }: Stepping) {
  const norm = globalNorm(buckets.map(({ bucket, gradient }) => trace.param(gradient, [bucket.size])));
  return { norm, clip: clipFactor(norm, maxGradNorm) };
}

/** The update of one bucket in place. */
function traceBucket(trace: Trace, trained: TrainedBucket, clip: Tensor, { optimizer }: Stepping): void {
  const { bucket, gradient, state, rates } = trained;
  optimizer.update({
    value: trace.param(bucket.name, [bucket.size]),
    gradient: trace.param(gradient, [bucket.size]),
    clip,
    state: optimizer.state.map((memory, i) => trace.param(state[i] ?? "", shapeIn(bucket, memory), memory.dtype)),
    rates: trace.param(rates, [bucket.size / BLOCK, 2]),
    scalars: trace.input("optimizer", [optimizer.scalars(1, 0).length]),
  });
}

/** The same in several programs: the first leaves the clipping factor in the store, each further one updates a bucket. */
export const updatesApart = (buckets: readonly TrainedBucket[], stepping: Stepping): readonly Update[] => [
  {
    build: (trace) => {
      const { norm, clip } = traceNorm(trace, buckets, stepping);
      assign(trace.param(CLIP, []), clip);
      return { grad_norm: norm };
    },
    state: [],
  },
  ...buckets.map((bucket): Update => ({
    build: (trace) => {
      traceBucket(trace, bucket, trace.param(CLIP, []), stepping);
      return {};
    },
    state: [...bucket.state, bucket.rates],
  })),
];
