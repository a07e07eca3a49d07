/** @file A run's complete state: with it, a resumed run gives the bits of an uninterrupted one. */
import { type Adapter, type NamedValues, type ShapedValues, StateError, type TrainableBucket } from "@graftml/peft";
import { sameShape, type Shape, show, sizeOf, type Store } from "@graftml/tensor";
import { memberName, shapeIn, type TrainedBucket } from "./buckets.ts";
import type { Position } from "./data.ts";
import { BLOCK } from "./optim/chunks.ts";
import type { Memory, Optimizer } from "./optim/optimizer.ts";

/** Settings by name. */
export type Identity = Readonly<Record<string, string | number | boolean>>;

/** Settings that methods may change between steps. */
export interface Changed {
  /** Steps done when the optimizer last started anew. */
  readonly restarted: number;
  /** Factors on the learning rate of parameters, where they are no longer those they started with. */
  readonly lrScale: Readonly<Record<string, number>>;
}

/** Everything a run needs to go on. Noise is a function of seed and step, so these two are the state of all generators. */
export interface Checkpoint {
  /** Optimizer steps done; with the schedule in `run` it is the place in that, too. */
  readonly step: number;
  readonly seed: number;
  /** The row that comes next. */
  readonly position: Position;
  /** Whatever decides the bits of a run; a checkpoint of another run is refused. */
  readonly run: Identity;
  /** What methods changed between steps. */
  readonly changed: Changed;
  /**
   * What trainable adapters own, by its names in the store, in the precision in which the runtime keeps it: f32 on a device,
   * f64 in the interpreter.
   */
  readonly adapter: NamedValues;
  /** What the optimizer remembers, by its names in the store. */
  readonly optimizer: NamedValues;
}

/** Somewhere to keep checkpoints. */
export interface Checkpoints {
  /** Writes a checkpoint whole or not at all; returns where it lies. */
  save(checkpoint: Checkpoint): Promise<string>;
}

/** A parameter of the store that holds several values one after another. */
interface Block {
  readonly name: string;
  readonly size: number;
  readonly parts: readonly {
    readonly name: string;
    readonly shape: Shape;
    readonly offset: number;
    /** Whether they are whole numbers of 32 bits. */
    readonly whole?: boolean;
  }[];
}

/** The parameters that checkpoints hold. */
export interface StateBlocks {
  readonly adapter: readonly Block[];
  readonly optimizer: readonly Block[];
}

/** Finds them. Values are named one by one, so that a checkpoint does not depend on how buckets are laid out on a device. */
export function stateBlocks(
  adapters: readonly Adapter[],
  { state }: Optimizer,
  buckets: readonly TrainedBucket[],
): StateBlocks {
  const trained = buckets.map(({ bucket: { name, size, members } }): Block => ({ name, size, parts: members }));
  const inBuckets = new Set(trained.flatMap(({ parts }) => parts.map((part) => part.name)));
  const others = adapters
    .flatMap((adapter) => (adapter.trainable ? adapter.owned : []))
    .filter(({ name, persist }) => persist !== false && !inBuckets.has(name))
    .map(({ name, shape }): Block => ({ name, size: sizeOf(shape), parts: [{ name, shape, offset: 0 }] }));
  const remembered = buckets.flatMap(({ bucket, state: names }) =>
    state.map((memory, i): Block => {
      const parts = bucket.members.map((member) => ({
        ...placeIn(member, memory),
        name: memberName(memory.name, member.name),
      }));
      return { name: names[i] ?? "", size: sizeOf(shapeIn(bucket, memory)), parts };
    }),
  );
  return { adapter: [...trained, ...others], optimizer: remembered };
}

/** Where in a bucket's memory that of a member lies. */
const placeIn = (
  { shape, offset }: TrainableBucket["members"][number],
  { dtype, perBlock }: Memory,
): Pick<Block["parts"][number], "shape" | "offset" | "whole"> => ({
  shape: perBlock === BLOCK ? shape : [Math.ceil(sizeOf(shape) / BLOCK), perBlock],
  offset: (offset / BLOCK) * perBlock,
  whole: dtype === "u32",
});

/** The values that lie in the store now. */
export async function takeState(store: Store, blocks: readonly Block[]): Promise<NamedValues> {
  const values = new Map<string, ShapedValues>();
  for (const block of blocks) {
    const all = await store.read(block.name);
    for (const { name, shape, offset, whole = false } of block.parts)
      values.set(name, { shape, values: all.slice(offset, offset + sizeOf(shape)), whole });
  }
  return values;
}

/**
 * Puts values back into the store; with `park`, they wait on the host until a program needs them.
 * @throws {StateError} if one is missing or has another shape; nothing is changed then.
 */
export async function restoreState(
  store: Store,
  blocks: readonly Block[],
  values: NamedValues,
  { park = false } = {},
): Promise<void> {
  const filled = blocks.map(({ name, size, parts }) => {
    const found = parts.map((part) => ({ offset: part.offset, values: valuesOf(part, values) }));
    const single = found.every((f) => f.values instanceof Float32Array);
    const all = single ? new Float32Array(size) : new Float64Array(size);
    for (const { offset, values: part } of found) all.set(part, offset);
    return { name, all };
  });
  for (const { name, all } of filled) {
    await store.write(name, all);
    if (park) await store.park(name);
  }
}

function valuesOf({ name, shape }: Block["parts"][number], state: NamedValues): ShapedValues["values"] {
  const saved = state.get(name);
  if (saved === undefined) throw new StateError(`the checkpoint does not hold ${name}.`);
  if (!sameShape(saved.shape, shape))
    throw new StateError(`${name} is ${show(saved.shape)} in the checkpoint and ${show(shape)} in this run.`);
  return saved.values;
}

/**
 * Checks that a checkpoint is of this run.
 * @throws {StateError} naming every setting that differs.
 */
export function checkSameRun(checkpoint: Checkpoint, run: Identity): void {
  const keys = new Set([...Object.keys(run), ...Object.keys(checkpoint.run)]);
  const differing = [...keys].filter((key) => run[key] !== checkpoint.run[key]);
  if (differing.length === 0) return;
  const say = (value: string | number | boolean | undefined): string =>
    value === undefined ? "absent" : String(value);
  const lines = differing.map((key) => `${key} is ${say(checkpoint.run[key])} there and ${say(run[key])} here`);
  throw new StateError(
    `the checkpoint of step ${checkpoint.step} is of another run: ${lines.join("; ")}. Resume it with its own settings, or start anew.`,
  );
}
