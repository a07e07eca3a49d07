/** @file What a run is, and what it tells as it goes. */
import type { Adapter, Layer, Model, TokenBatch, TrainableBucket } from "@graftml/peft";
import { checkpoint, type DType, type Precision, type Runtime, type Store } from "@graftml/tensor";
import type { Checkpoint, Checkpoints } from "./checkpoint.ts";
import type { Example } from "./encode.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import type { Rows } from "./rows.ts";
import type { Schedule } from "./schedule.ts";
import type { Figures, Task } from "./task.ts";

/** A model with its adapters, on a runtime: what both training and evaluating need. */
export interface Setting<Batch = TokenBatch, Row = Example> {
  readonly runtime: Runtime;
  /** Knows the base's parameters and the adapters'. */
  readonly store: Store;
  readonly model: Model<Batch>;
  /** The stack, innermost first. */
  readonly adapters: readonly Adapter[];
  readonly task: Task<Batch, Row>;
  /** Rows of a batch; in training, of a micro-batch. */
  readonly batchSize: number;
  /** What linear layers read their input in; default f32. */
  readonly precision?: Precision | undefined;
}

/** What is trained, on what and for how long. */
export interface Job<Batch = TokenBatch, Row = Example> extends Setting<Batch, Row> {
  /** Where the trainable parameters lie in the store, as `declareAdapter` gave them. */
  readonly trainable: readonly TrainableBucket[];
  readonly rows: Rows<Row>;
  /** Rows to evaluate on; without them nothing is evaluated. */
  readonly heldOut?: Rows<Row> | undefined;
  /** Optimizer steps in all. `stepsIn` gives those of an epoch. */
  readonly steps: number;
  /** Learning rate before the schedule. */
  readonly lr: number;
  /** Where checkpoints go; without it none are written. */
  readonly checkpoints?: Checkpoints | undefined;
  /** The checkpoint to go on from. */
  readonly resume?: Checkpoint | undefined;
  /** Aborting finishes the step in flight, writes a checkpoint and ends the run. */
  readonly signal?: AbortSignal | undefined;
}

/** How to train. Each has a default. */
export interface Choices {
  /** Micro-batches of an optimizer step; default 1. */
  readonly accumulate: number;
  /** Default `adamw()`. */
  readonly optimizer: Optimizer;
  /** Default `constant()`. */
  readonly schedule: Schedule;
  /** Largest global norm of the gradients; default 1, 0 turns clipping off. */
  readonly maxGradNorm: number;
  /** Seed of the order of rows and of all noise; default 0. */
  readonly seed: number;
  /** Whether every epoch has an order of its own; default true. False: the order of `rows`, epoch after epoch. */
  readonly shuffle: boolean;
  /** Whether rows of like length share a batch; default false. */
  readonly bucket: boolean;
  /** Whether blocks are recomputed by the backward pass instead of kept; changes no bit. Default false. */
  readonly checkpointActivations: boolean;
  /** Whether what those blocks are given waits on the host until they are recomputed; changes no bit. Default false. */
  readonly offloadActivations: boolean;
  /**
   * Whether what the optimizer remembers goes to the host where a batch does not fit beside it, and comes back for the update, a
   * bucket at a time if need be; changes no bit. Default false.
   */
  readonly pagedOptimizer: boolean;
  /** Steps between evaluations; there is one at the end in any case. 0, the default: only that. */
  readonly evalEvery: number;
  /** Steps between checkpoints; 0, the default: only when interrupted. */
  readonly saveEvery: number;
}

/** A run of training. */
export interface Run<Batch = TokenBatch, Row = Example> extends Job<Batch, Row>, Partial<Choices> {}

/** One optimizer step, told once its loss is known: two steps late. */
export interface StepEvent {
  readonly type: "step";
  /** Counts from 1. */
  readonly step: number;
  /** Mean over the labels of the whole step, penalties included. */
  readonly loss: number;
  /** Global L2 norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** The learning rate that this step used. */
  readonly lr: number;
  /** Tokens that went through the model, padding excluded. */
  readonly tokens: number;
  /** Labels that the loss is a mean over. */
  readonly labels: number;
  /** From the end of the step before, or this one's start if later, to its end. */
  readonly ms: number;
  /**
   * What the host took to make its batches and to put them into the device's queue, in ms. The device works on the steps before
   * meanwhile, and waits only where this is longer; a new shape is compiled in it.
   */
  readonly hostMs: number;
}

/** Figures over all of the held-out rows: those of the task, and the loss, which is a mean over all of their labels. */
export type Evaluation = Figures & { readonly loss: number };

/** What a run tells. */
export type TrainEvent =
  | StepEvent
  | { readonly type: "eval"; readonly step: number; readonly eval: Evaluation }
  | { readonly type: "checkpoint"; readonly step: number; readonly path: string }
  | { readonly type: "done"; readonly step: number };

/** The onion of a stack of adapters, innermost first. */
export const layersOf = (
  adapters: readonly Adapter[],
  { checkpointActivations: on = false, offloadActivations: offload = false }: Partial<Choices> = {},
): readonly Layer[] => [...adapters.flatMap((adapter) => adapter.layers), ...(on ? [recomputed({ offload })] : [])];

/** Outermost, so that what methods do in a block is recomputed with it. */
const recomputed = (how: { readonly offload: boolean }): Layer => ({
  id: "",
  name: "activation checkpointing",
  adaptation: { layer: { at: ["block"], wrap: (x, next) => checkpoint(x, next, how) } },
});

/** Stored types of base parameters, as the store knows them. */
export const dtypesOf =
  (store: Store) =>
  (name: string): DType =>
    store.has(name) ? store.declaration(name).dtype : "f32";
