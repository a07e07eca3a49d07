/** @file One training step of a model with methods as a contender: the trainer's own traced functions, on random data. */
import { buildModel, families, randomBase } from "@graftml/models";
import { adapt, type Adapted, declareAdapter, declareBase } from "@graftml/peft";
import type { DeviceRuntime, MemoryPlan, ProfileRow } from "@graftml/tensor";
import { adamw, causalLm, declareTraining, traceGradients, traceUpdate } from "@graftml/trainer";
import { gpt2Config, type GptSize } from "./gpt.ts";
import type { Contender } from "./measure.ts";

/** A step that can be repeated, with what it needs. */
export interface TrainingStep extends Contender {
  readonly trainable: number;
  readonly memory: MemoryPlan;
  profile(): Promise<readonly ProfileRow[]>;
  dispose(): void;
}

/** Forward, backward, clipping and AdamW in one program; the loss is read back, as a trainer does. */
export async function trainingStep(
  runtime: DeviceRuntime,
  name: string,
  size: GptSize,
  methods: readonly Adapted[],
): Promise<TrainingStep> {
  const { batch, length, vocabulary } = size;
  const model = buildModel(gpt2Config(size));
  const family = families.find((f) => f.type === model.info.type);
  if (family === undefined) throw new Error("the yardstick's family is gone.");
  const base = randomBase(model, family, 0);
  const store = runtime.store();
  declareBase(store, base);
  const adapter = adapt(model, methods);
  const optimizer = adamw();
  const buckets = declareTraining(store, declareAdapter(store, adapter, base, { seed: 0 }), optimizer);
  const task = causalLm();
  const setting = { runtime, store, model, base, adapters: [adapter], task };
  const shape = { batch, length };
  const program = await runtime.compile(store, (trace) => {
    const { loss } = traceGradients(trace, setting, adapter.layers, shape, buckets, { accumulating: false });
    return { ...(loss && { loss }), ...traceUpdate(trace, buckets, { optimizer, maxGradNorm: 1 }) };
  });
  const id = (): number => Math.floor(Math.random() * vocabulary);
  const rows = Array.from({ length: batch }, () => {
    const ids = Array.from({ length }, id);
    return { ids, labels: ids };
  });
  const { inputs } = task.collate(rows, { ...shape, lead: 0 });
  let step = 0;
  return {
    name,
    trainable: adapter.owned.reduce((n, o) => n + o.shape.reduce((a, b) => a * b, 1), 0),
    memory: program.memory,
    run: async () => {
      step++;
      await program.run({ ...inputs, loss_weight: [1 / (batch * (length - 1))], penalty_weight: [1], optimizer: optimizer.scalars(step, 1e-3), clock: [0, step], keep: [0] });
    },
    profile: () => runtime.profile(program),
    dispose: () => program.dispose(),
  };
}
