/** @file The traced functions of training: how an adapter is trained is all here. */
import { type Census, contextTaken, type Layer, openScope, type Progress } from "@graftml/peft";
import { add, assign, fill, grad, mul, type Outputs, type Tensor, Trace, where } from "@graftml/tensor";
import { gradientOf, shapeIn, type TrainedBucket } from "./buckets.ts";
import { clipFactor, globalNorm } from "./clip.ts";
import { BLOCK } from "./optim/chunks.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import type { Rows } from "./rows.ts";
import { dtypesOf, type Setting } from "./run.ts";
import type { BatchShape, Outcome } from "./task.ts";

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

/** One step of the optimizer from the gradients as they are: norm, clipping, update of every bucket in place. */
export function traceUpdate(
  trace: Trace,
  buckets: readonly TrainedBucket[],
  { optimizer, maxGradNorm }: { readonly optimizer: Optimizer; readonly maxGradNorm: number },
): Outputs {
  const whole = (name: string, { bucket }: TrainedBucket): Tensor => trace.param(name, [bucket.size]);
  const norm = globalNorm(buckets.map((b) => whole(b.gradient, b)));
  const clip = clipFactor(norm, maxGradNorm);
  const scalars = trace.input("optimizer", [optimizer.scalars(1, 0).length]);
  for (const b of buckets)
    optimizer.update({
      value: whole(b.bucket.name, b),
      gradient: whole(b.gradient, b),
      clip,
      state: optimizer.state.map((memory, i) => trace.param(b.state[i] ?? "", shapeIn(b.bucket, memory), memory.dtype)),
      rates: trace.param(b.rates, [b.bucket.size / BLOCK, 2]),
      scalars,
    });
  return { grad_norm: norm };
}
