import { readFileSync } from "node:fs";
import type { TrainableBucket } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { declareTraining } from "../src/buckets.ts";
import { adamw, optimizers, type OptimizerSettings, sgd } from "../src/index.ts";
import { traceUpdate } from "../src/program.ts";

interface Case {
  readonly decay: number;
  readonly settings: OptimizerSettings;
  readonly steps: readonly { readonly norm: number; readonly a: readonly number[]; readonly b: readonly number[] }[];
}
const golden = JSON.parse(readFileSync(new URL("golden/optimizers.json", import.meta.url), "utf8")) as {
  readonly rates: readonly number[];
} & Readonly<Record<"adamw" | "sgd", readonly Case[]>>;

const values = (size: number, phase: number, scale: number): number[] =>
  Array.from({ length: size }, (_, i) => Math.sin(1.3 * i + phase) * scale);

/** Updates "a" [3] and "b" [70] with the gradients of scripts/golden/adamw.py. */
async function trajectory(name: "adamw" | "sgd", { decay, settings }: Case): Promise<Case["steps"]> {
  const runtime = hostRuntime();
  const store = runtime.store();
  const members = [
    { name: "x/a", shape: [3], values: () => values(3, 0, 1) },
    { name: "x/b", shape: [70], values: () => values(70, 0, 1) },
  ];
  const trainable = store.group("x", members, "trainable").map((bucket): TrainableBucket => ({
    ...bucket,
    members: bucket.members.map((m, i) => ({ ...m, lrScale: i === 0 ? 1 : 4, decay: i === 0 })),
  }));
  const optimizer = optimizers[name]!({ ...settings, weightDecay: decay });
  const buckets = declareTraining(store, trainable, optimizer);
  const program = await runtime.compile(store, (trace) => traceUpdate(trace, buckets, { optimizer, maxGradNorm: 1 }));
  const steps: Case["steps"][number][] = [];
  for (const [step, rate] of golden.rates.entries()) {
    await store.write("gradients/x/a", values(3, step, 0.2 + step));
    await store.write("gradients/x/b", values(70, 2 * step, 0.1));
    const { grad_norm: norm } = await program.run({ optimizer: optimizer.scalars(step + 1, rate) });
    const [a, b] = [await store.read("x/a"), await store.read("x/b")];
    steps.push({ norm: norm![0]!, a: [...a], b: [...b].filter((_, i) => i % 23 === 0) });
  }
  return steps;
}

describe.each(["adamw", "sgd"] as const)("%s", (name) => {
  it.each(golden[name])("follows torch's trajectory with $settings and decay $decay", async (wanted) => {
    const got = await trajectory(name, wanted);
    wanted.steps.forEach((want, step) => {
      const flat = (s: typeof want): number[] => [s.norm, ...s.a, ...s.b];
      flat(want).forEach((x, i) => expect(Math.abs(flat(got[step]!)[i]! - x)).toBeLessThan(1e-12));
    });
  });
});

it("keeps per-step numbers apart from what is compiled", () => {
  expect(adamw().scalars(1, 0.1)).toHaveLength(adamw().scalars(100, 0.2).length);
  expect(adamw().scalars(1, 0.1)).not.toEqual(adamw().scalars(2, 0.1));
  expect(sgd({ momentum: 0.9 }).state).toHaveLength(1);
  expect(sgd().state).toHaveLength(0);
});
