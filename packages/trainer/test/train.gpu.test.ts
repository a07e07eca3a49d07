import { deviceRuntime, hostRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adamw, adamw8bit, causalLm, type Checkpoint, planRun, type Run, train } from "../src/index.ts";
import { ready, rows } from "./toy.ts";

let runtime: Runtime;
beforeAll(async () => void (runtime = deviceRuntime(await requestDevice())));
afterAll(() => runtime.dispose());

const config = { dropout: 0.3, penalty: 0.1 };
const job = {
  task: causalLm,
  rows: rows(7),
  heldOut: rows(3),
  batchSize: 2,
  steps: 5,
  lr: 0.02,
  seed: 5,
  evalEvery: 2,
} as const;

async function outcome(on: Runtime, overrides: Partial<Run> = {}) {
  const setting = ready(config, { runtime: on });
  const losses: number[] = [];
  const norms: number[] = [];
  for await (const event of train({ ...setting, ...job, ...overrides })) {
    if (event.type === "step") norms.push(event.gradNorm);
    if (event.type === "step") losses.push(event.loss);
    if (event.type === "eval") losses.push(event.eval.loss);
  }
  const values: number[] = [];
  for (const { name } of setting.trainable) values.push(...(await setting.store.read(name)));
  return { losses, norms, values };
}

describe("training on the device", () => {
  it.each([{ accumulate: 1 }, { accumulate: 2 }])(
    "tells what the interpreter tells, with $accumulate micro-batches",
    async (how) => {
      const [got, want] = [await outcome(runtime, how), await outcome(hostRuntime(), how)];
      expect(got.losses).toHaveLength(want.losses.length);
      want.losses.forEach((loss, i) => expect(Math.abs(got.losses[i]! / loss - 1)).toBeLessThan(1e-5));
      want.norms.forEach((norm, i) => expect(Math.abs(got.norms[i]! / norm - 1)).toBeLessThan(1e-4));
    },
  );

  it("tells what the interpreter tells in half precision, but for values that round the other way", async () => {
    const how = { precision: "f16" } as const;
    const [got, want] = [await outcome(runtime, how), await outcome(hostRuntime(), how)];
    want.losses.forEach((loss, i) => expect(Math.abs(got.losses[i]! / loss - 1)).toBeLessThan(1e-4));
    want.norms.forEach((norm, i) => expect(Math.abs(got.norms[i]! / norm - 1)).toBeLessThan(1e-3));
  });

  it("gives the same bits again", async () => {
    expect(await outcome(runtime)).toEqual(await outcome(runtime));
  });

  it.each([adamw(), adamw8bit()])("resumes to the bits of an uninterrupted run: $name", async (optimizer) => {
    const kept: Checkpoint[] = [];
    const checkpoints = { save: async (checkpoint: Checkpoint) => `memory/${kept.push(checkpoint)}` };
    const straight = await outcome(runtime, { optimizer, saveEvery: 3, checkpoints });
    const resumed = await outcome(runtime, { optimizer, resume: kept[0] });
    expect(resumed.values).toEqual(straight.values);
  });

  it("allocates what was planned before the first step, nothing after it, and gives it back", async () => {
    const own = deviceRuntime(await requestDevice());
    const setting = ready(config, { runtime: own });
    // Of one length: how slots of several programs lie in one workspace is the runtime's business.
    const like = rows(20).map(() => rows(1, { longest: 40 })[0]!);
    const run = { ...setting, ...job, rows: like, heldOut: like, steps: 20 };
    const plan = planRun(run);
    const seen = new Set<string>();
    for await (const { type } of train(run)) {
      const { transfer = 0, ...rest } = own.allocated();
      if (type !== "step") continue;
      expect(rest).toEqual(Object.fromEntries(Object.keys(rest).map((kind) => [kind, plan[kind]])));
      seen.add(JSON.stringify({ transfer, ...rest }));
    }
    expect(seen.size).toBe(1);
    expect(Object.keys(own.allocated())).not.toContain("gradients");
    own.dispose();
  });
});
