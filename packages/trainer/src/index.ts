/** @file The public surface of @graftml/trainer: from a model, an adapter, a task and rows to steps. */
export { declareTraining, releaseTraining, type TrainedBucket } from "./buckets.ts";
export type { Checkpoint, Checkpoints, Identity } from "./checkpoint.ts";
export { type Dealing, permutation, type Position, stepsIn } from "./data.ts";
export { encodePair, encodeSpans, encodeText, type Encoding, type Example } from "./encode.ts";
export { DataError, TrainError } from "./errors.ts";
export { evaluate } from "./evaluate.ts";
export { adamw } from "./optim/adamw.ts";
export { optimizers } from "./optim/index.ts";
export type { BucketUpdate, Optimizer, OptimizerSettings } from "./optim/optimizer.ts";
export { sgd } from "./optim/sgd.ts";
export { planRun } from "./plan.ts";
export { type Facts, factsOf, traceGradients, traceUpdate } from "./program.ts";
export { layersOf } from "./run.ts";
export type { Choices, Evaluation, Job, Run, Setting, StepEvent, TrainEvent } from "./run.ts";
export { constant, cosine, linear, type Schedule, schedules, type ScheduleSettings } from "./schedule.ts";
export { type BatchShape, causalLm, type Collated, type Pass, type Task } from "./task.ts";
export { train } from "./train.ts";
