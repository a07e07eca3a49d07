/** @file Real models as their config.json describes them, and what training them needs: nothing of them but that is here. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildModel, families, randomBase, storedAs } from "@graftml/models";
import {
  adapt,
  type Adapted,
  type Base,
  declareAdapter,
  declareBase,
  type Model,
  type TokenBatch,
} from "@graftml/peft";
import { type MemoryPlan, planningRuntime } from "@graftml/tensor";
import { causalLm, type Example, maskedLm, type Optimizer, planRun, seq2seqLm, type Task } from "@graftml/trainer";

/** A model, and what it is trained for. */
export interface Architecture {
  readonly name: string;
  /** Its folder in `architectures`. */
  readonly folder: string;
  readonly task: Task<TokenBatch, Example>;
}

const onMasks = maskedLm({ mask: 103, special: new Set() });

export const architectures: readonly Architecture[] = [
  { name: "GPT-2", folder: "gpt2", task: causalLm },
  { name: "SmolLM2-135M", folder: "smollm2-135m", task: causalLm },
  { name: "Qwen2.5-0.5B", folder: "qwen2.5-0.5b", task: causalLm },
  { name: "Llama-3.2-1B", folder: "llama-3.2-1b", task: causalLm },
  { name: "Llama-3.2-3B", folder: "llama-3.2-3b", task: causalLm },
  { name: "Llama-2-7B", folder: "llama-2-7b", task: causalLm },
  { name: "Llama-2-13B", folder: "llama-2-13b", task: causalLm },
  { name: "LLaMA-65B", folder: "llama-65b", task: causalLm },
  { name: "BERT-base", folder: "bert-base", task: onMasks },
  { name: "BERT-large", folder: "bert-large", task: onMasks },
  { name: "T5-v1.1-XXL", folder: "t5-v1.1-xxl", task: seq2seqLm },
  { name: "GPT-3 175B", folder: "gpt3-175b", task: causalLm },
];

/** The configuration in a folder of `architectures`. */
export const configOf = (folder: string): Readonly<Record<string, unknown>> =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../architectures", folder, "config.json"), "utf8")) as Record<
    string,
    unknown
  >; // config.json holds an object

/** A model without weights, and the shapes of these: matrices in f16, as checkpoints of large models are. */
export function described({ folder, task }: Architecture): { readonly model: Model; readonly base: Base } {
  const model = buildModel(configOf(folder), { task: task.name });
  const family = families.find(({ type }) => type === model.info.type);
  if (family === undefined) throw new Error(`the family of ${folder} is gone.`);
  return { model, base: storedAs(randomBase(model, family, 0), "f16") };
}

/** How training is planned. */
export interface Training {
  readonly methods: readonly Adapted[];
  readonly optimizer: Optimizer;
  readonly batchSize: number;
  /** Tokens of a row, as far as the model has positions. */
  readonly length: number;
}

/** Bytes by kind that training with recomputed activations needs on a GPU. */
export function planTraining(
  architecture: Architecture,
  { methods, optimizer, batchSize, length }: Training,
): MemoryPlan {
  const { model, base } = described(architecture);
  const runtime = planningRuntime();
  const store = runtime.store();
  declareBase(store, base);
  const adapter = adapt(model, methods);
  const ids = new Array<number>(Math.min(length, model.info.maxLength)).fill(0);
  return planRun({
    runtime,
    store,
    model,
    adapters: [adapter],
    trainable: declareAdapter(store, adapter, base, { seed: 0 }),
    task: architecture.task,
    rows: [{ ids, labels: ids }],
    batchSize,
    steps: 1,
    lr: 0,
    optimizer,
    checkpointActivations: true,
  });
}
