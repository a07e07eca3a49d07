/** @file One training step of a model with methods as a contender: the trainer's own traced functions, on random data. */
import { buildModel, families, randomBase } from "@graftml/models";
import { adapt, type Adapted, declareAdapter, declareBase, type TokenBatch } from "@graftml/peft";
import {
  type DeviceRuntime,
  type MemoryPlan,
  type Precision,
  type ProfileRow,
  type Source,
  sizeOf,
} from "@graftml/tensor";
import {
  adamw,
  declareTraining,
  type Example,
  factsOf,
  shapeFor,
  type Task,
  traceGradients,
  traceUpdate,
} from "@graftml/trainer";
import type { Contender } from "./measure.ts";

/** A step that can be repeated, with what it needs. */
export interface TrainingStep extends Contender {
  readonly trainable: number;
  readonly memory: MemoryPlan;
  /** Time by kernel and site, on a device asked for with `profile`. */
  profile(): Promise<readonly ProfileRow[]>;
  dispose(): void;
}

/** What is trained on: a model by its configuration, a task and one batch. */
export interface Yardstick {
  readonly config: Readonly<Record<string, unknown>>;
  readonly task: Task<TokenBatch, Example>;
  readonly rows: readonly Example[];
}

/** Forward, backward, clipping and AdamW in one program; the loss is read back, as a trainer does. */
export async function trainingStep(
  runtime: DeviceRuntime,
  name: string,
  { config, task, rows }: Yardstick,
  methods: readonly Adapted[],
  precision: Precision = "f32",
): Promise<TrainingStep> {
  const model = buildModel(config, { task: task.name });
  const family = families.find((f) => f.type === model.info.type);
  if (family === undefined) throw new Error("the yardstick's family is gone.");
  const base = randomBase(model, family, 0);
  const store = runtime.store();
  declareBase(store, base);
  const adapter = adapt(model, methods);
  const optimizer = adamw();
  const buckets = declareTraining(store, declareAdapter(store, adapter, base, { seed: 0 }), optimizer);
  const setting = { runtime, store, model, adapters: [adapter], task, batchSize: rows.length, precision };
  const shape = shapeFor(setting, factsOf(setting, adapter.layers), rows);
  const program = await runtime.compile(store, (trace) => {
    const { loss } = traceGradients(trace, setting, adapter.layers, shape, buckets, { accumulating: false });
    return { ...(loss && { loss }), ...traceUpdate(trace, buckets, { optimizer, maxGradNorm: 1 }) };
  });
  const draw = { seed: 0, epoch: 0, numbers: rows.map((_, i) => i) };
  const { inputs, labels } = task.collate(rows, shape, { model: model.info, draw });
  let step = 0;
  return {
    name,
    trainable: adapter.owned.reduce((n, o) => n + (o.trainable ? sizeOf(o.shape) : 0), 0),
    memory: program.memory,
    run: async () => {
      step++;
      const scalars: Record<string, Source> = { loss_weight: [1 / labels], penalty_weight: [1], clock: [0, step] };
      await program.run({ ...inputs, ...scalars, optimizer: optimizer.scalars(step, 1e-3) });
    },
    profile: () => program.profile(),
    dispose: () => program.dispose(),
  };
}
