/** A run whose one long batch has no room beside what the optimizer remembers. */
import type { MemoryPlan, Runtime } from "@graftml/tensor";
import { causalLm, type Run, train } from "../src/index.ts";
import { ready, rows } from "./toy.ts";

const long = rows(12, { longest: 60 })[11]!;

/** Rows of up to nine tokens, and one of 58. */
export const unpaged = (runtime: Runtime): Run => ({
  ...ready({ rank: 96, dropout: 0.3 }, { runtime }),
  task: causalLm,
  rows: [...rows(6, { longest: 9 }), long],
  batchSize: 2,
  steps: 8,
  lr: 0.02,
  seed: 5,
});

/** Bytes of a plan. */
export const total = (plan: MemoryPlan): number => Object.values(plan).reduce((a, b) => a + b, 0);

/** Trains to the end: losses and everything that was trained. */
export async function outcome(run: Run): Promise<readonly number[]> {
  const results: number[] = [];
  for await (const event of train(run)) if (event.type === "step") results.push(event.loss, event.gradNorm);
  for (const { name } of run.trainable) results.push(...(await run.store.read(name)));
  return results;
}
