/** @file Running a tiny model with adapters: logits, gradients, finite differences, training. */
import {
  type Adapter,
  type Base,
  census,
  declareAdapter,
  declareBase,
  type Layer,
  type Loaded,
  mixed,
  type Model,
  type NamedValues,
  nameWithin,
  openScope,
  predict,
  type Owned,
  readState,
  rngOf,
  type ShapedValues,
  type Scope,
  storedType,
  type TrainableBucket,
  widenHalf,
} from "@graftml/peft";
import {
  add,
  checkpoint,
  crossEntropy,
  grad,
  mean,
  type Outputs,
  reshape,
  type Runtime,
  slice,
  type Source,
  type Store,
  type Tensor,
  Trace,
  type Values,
} from "@graftml/tensor";
import { type Checkpoint, type Run, train } from "@graftml/trainer";
import { exerciseOf, passInputs, passSize } from "./exercise.ts";

/** A model with its weights, on a runtime. */
export interface Rig {
  readonly model: Model;
  readonly base: Base;
  readonly runtime: Runtime;
}

/** An adapter with its values, or with those that a seed gives it. */
export interface Attached {
  readonly adapter: Adapter;
  readonly state?: NamedValues;
  readonly seed?: number;
}

const { batch: B } = passSize;

/** Runs `body` with the base and the adapters in a store, and frees them afterwards. */
export async function withStore<R>(
  { base, runtime }: Rig,
  attached: readonly Attached[],
  body: (store: Store, trainable: readonly TrainableBucket[]) => Promise<R>,
): Promise<R> {
  const store = runtime.store();
  declareBase(store, base);
  const trainable = attached.flatMap(({ adapter, state, seed = 0 }) =>
    declareAdapter(store, adapter, base, { seed, ...(state && { state }) }),
  );
  try {
    return await body(store, trainable);
  } finally {
    const inBuckets = new Set(trainable.flatMap((b) => b.members.map((m) => m.name)));
    const others = attached.flatMap(({ adapter }) => adapter.owned.map((o) => o.name).filter((n) => !inBuckets.has(n)));
    const groups = attached.filter(({ adapter }) => adapter.owned.some((o) => inBuckets.has(o.name)));
    store.delete(...base.names(), ...others, ...groups.map(({ adapter }) => adapter.id));
  }
}

/** An adapter with the values it starts from. */
export const started = (rig: Rig, adapter: Adapter, seed = 0): Promise<Loaded> =>
  withStore(rig, [{ adapter, seed }], async (store) => ({ adapter, state: await readState(store, adapter) }));

/** The same adapter with noise on all that it trains, so that nothing is zero and nothing is the base's by chance. */
export function shaken({ adapter, state }: Loaded, seed = 1): Loaded {
  const trainable = new Set(adapter.owned.flatMap((o) => (o.trainable ? [nameWithin(adapter, o.name)] : [])));
  const shake = ([name, value]: readonly [string, ShapedValues]): readonly [string, ShapedValues] => {
    const rng = rngOf(seed, name);
    const noise = (v: number): number => (trainable.has(name) ? v + rng.normal() / 4 : v);
    return [name, { ...value, values: Float32Array.from(value.values, noise) }];
  };
  return { adapter, state: new Map(Array.from(state, shake)) };
}

/** A scope over the model with the adapters around it, recomputing its blocks on the way back if told to. */
function scopeOf({ model, base }: Rig, trace: Trace, attached: readonly Attached[], options: PassOptions): Scope {
  const recomputing: Layer = {
    id: "",
    name: "recomputation",
    adaptation: { layer: { at: ["block"], wrap: (x, next) => checkpoint(x, next) } },
  };
  const layers = attached.flatMap(({ adapter }) => adapter.layers);
  return openScope(trace, options.recompute === true ? [...layers, recomputing] : layers, {
    train: options.train ?? false,
    model: model.info,
    dtypeOf: (name) => storedType(base, name),
  });
}

interface PassOptions {
  readonly train?: boolean;
  /** Whether blocks are recomputed by the backward pass. */
  readonly recompute?: boolean;
  /** What noise depends on besides the seed; default 1. */
  readonly step?: number;
}

/** Whether a training pass draws noise: the model's own or a method's. */
export function drawsNoise(model: Model, adapter: Adapter): boolean {
  const trace = new Trace();
  const scope = openScope(trace, adapter.layers, { train: true, model: model.info });
  predict(model, scope, { batch: 1, length: 2 });
  return [...trace.leaves].some(({ dtype }) => dtype === "u32"); // seed and step
}

/** Logits of the real tokens of each row, whatever stands before them; or those of the row. */
function forward({ model }: Rig, scope: Scope): Tensor {
  const y = predict(model, scope, passSize);
  if (y.shape.length < 3) return y;
  const tokens = model.info.decoderStart === undefined ? passSize.length : passSize.target;
  return slice(y, 1, (y.shape[1] ?? 0) - tokens, tokens);
}

type Inputs = Readonly<Record<string, Source>>;

/** Values that methods compute on the host, as they are before the first of ten steps. */
function scalarsOf({ model }: Rig, attached: readonly Attached[]): Inputs {
  const { scalars } = census(
    model,
    attached.flatMap(({ adapter }) => adapter.layers),
  );
  return Object.fromEntries(Array.from(scalars, ([name, at]) => [name, [at({ step: 0, steps: 10, perEpoch: 5 })]]));
}

/** Logits of a pass, outside of training: there is no noise to be had. */
export const logits = (rig: Rig, attached: readonly Attached[] = []): Promise<Values> =>
  withStore(rig, attached, async (store) => {
    const build = (trace: Trace): Outputs => ({ y: forward(rig, scopeOf(rig, trace, attached, {})) });
    const program = await rig.runtime.compile(store, build);
    const { y = new Float64Array() } = await program.run({ ...passInputs, ...scalarsOf(rig, attached) });
    program.dispose();
    return y;
  });

/** Logits of a batch whose rows choose among the adapters: 1 for the first, 0 for none. */
export const mixedLogits = (rig: Rig, attached: readonly Attached[], rows: readonly number[]): Promise<Values> =>
  withStore(rig, attached, async (store) => {
    const stacks = attached.map(({ adapter }) => adapter.layers);
    const build = (trace: Trace): Outputs => {
      const layer = mixed(trace.input("adapter", [B], "i32"), stacks);
      const options = { train: false, model: rig.model.info, dtypeOf: (name: string) => storedType(rig.base, name) };
      return { y: forward(rig, openScope(trace, [layer], options)) };
    };
    const program = await rig.runtime.compile(store, build);
    const { y = new Float64Array() } = await program.run({
      ...passInputs,
      ...attached.map((one) => scalarsOf(rig, [one])).reduce<Inputs>((all, some) => ({ ...all, ...some }), {}),
      adapter: rows,
    });
    program.dispose();
    return y;
  });

/** The logits of one row. */
export const rowOf = (logits: Values, row: number): Values =>
  logits.slice((row * logits.length) / B, ((row + 1) * logits.length) / B);

/** The loss of a training pass, penalties included. */
export function lossOf(rig: Rig, trace: Trace, attached: readonly Attached[], options: PassOptions): Tensor {
  const scope = scopeOf(rig, trace, attached, { train: true, ...options });
  const y = forward(rig, scope);
  const rows = reshape(y, [-1, y.shape.at(-1) ?? 0]);
  const task = mean(crossEntropy(rows, trace.input("labels", [rows.shape[0] ?? 0], "i32")));
  return scope.census.penalties.reduce(add, task);
}

/** The inputs of a training pass. */
export const inputsOf = (rig: Rig, attached: readonly Attached[], { step = 1 }: PassOptions = {}): Inputs => ({
  ...passInputs,
  labels: exerciseOf(rig.model).labels,
  clock: [1, step],
  ...scalarsOf(rig, attached),
});

/** What a training pass gives. */
export interface Gradients {
  readonly loss: number;
  /** By names in the store; null for what the loss does not depend on. */
  readonly of: ReadonlyMap<string, Values | null>;
}

/** All that training changes. */
export const trained = (attached: readonly Attached[]): readonly Owned[] =>
  attached.flatMap(({ adapter }) => (adapter.trainable ? adapter.owned.filter((o) => o.trainable) : []));

/** Loss and gradients of a training pass. */
export const gradients = (rig: Rig, attached: readonly Attached[], options: PassOptions = {}): Promise<Gradients> =>
  withStore(rig, attached, async (store) => {
    const owned = trained(attached);
    let reached: readonly boolean[] = [];
    const program = await rig.runtime.compile(store, (trace) => {
      const loss = lossOf(rig, trace, attached, options);
      const found = grad(
        loss,
        owned.map(({ name, shape }) => trace.param(name, shape)),
      );
      reached = found.map((g) => g !== null);
      return { loss, ...Object.fromEntries(found.flatMap((g, i) => (g === null ? [] : [[owned[i]?.name ?? "", g]]))) };
    });
    const outputs = await program.run(inputsOf(rig, attached, options));
    program.dispose();
    const of = new Map(owned.map(({ name }, i) => [name, reached[i] === true ? (outputs[name] ?? null) : null]));
    return { loss: outputs["loss"]?.[0] ?? NaN, of };
  });

/** What training leaves behind. */
export interface Fitted {
  readonly losses: readonly number[];
  /** Global norms of the gradients before clipping. */
  readonly gradNorms: readonly number[];
  /** The adapters with the values they end with. */
  readonly loaded: readonly Loaded[];
  readonly checkpoints: readonly Checkpoint[];
  /** Base parameters whose bits in the store are no longer those of the base. */
  readonly changedBase: readonly string[];
  /** Bytes allocated at each step. */
  readonly allocated: readonly number[];
}

/** Trains on four rows in the trainer's loop. */
export const fit = (
  rig: Rig,
  attached: readonly Attached[],
  options: Pick<Run, "steps"> & Partial<Run>,
): Promise<Fitted> =>
  withStore(rig, attached, async (store, trainable) => {
    const { model, base, runtime } = rig;
    const { task, rows } = exerciseOf(model);
    const checkpoints: Checkpoint[] = [];
    const save = async (checkpoint: Checkpoint): Promise<string> => `${checkpoints.push(checkpoint)}`;
    const adapters = attached.map((a) => a.adapter);
    const setting = { runtime, store, model, adapters, trainable, task, rows, batchSize: 2, lr: 0.01 };
    const losses: number[] = [];
    const gradNorms: number[] = [];
    const allocated: number[] = [];
    for await (const event of train({ ...setting, checkpoints: { save }, ...options })) {
      if (event.type === "step") {
        losses.push(event.loss);
        gradNorms.push(event.gradNorm);
      }
      allocated.push(Object.values(runtime.allocated()).reduce((sum, bytes) => sum + bytes, 0));
    }
    const loaded: Loaded[] = [];
    for (const adapter of adapters) loaded.push({ adapter, state: await readState(store, adapter) });
    const changedBase: string[] = [];
    for (const name of base.names()) {
      const before = await base.read(name);
      const numbers = before instanceof Uint16Array ? widenHalf(before) : before;
      if (!(await store.read(name)).every((v, i) => v === numbers[i])) changedBase.push(name);
    }
    return { losses, gradNorms, loaded, checkpoints, changedBase, allocated };
  });
