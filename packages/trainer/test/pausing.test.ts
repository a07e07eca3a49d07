import type { Between, Changes, Pause } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { causalLm, type Checkpoint, type Run, train } from "../src/index.ts";
import { ready, rows } from "./toy.ts";

const job = { task: causalLm, rows: rows(7), batchSize: 2, steps: 9, lr: 0.02, seed: 5 } as const;

/** A run whose method works between steps. */
async function outcome(between: Between, overrides: Partial<Run> = {}, config: Parameters<typeof ready>[0] = {}) {
  const setting = ready(config);
  const adapters = setting.adapters.map((a) => ({ ...a, methods: a.methods.map((m) => ({ ...m, between })) }));
  const losses: number[] = [];
  for await (const event of train({ ...setting, adapters, ...job, ...overrides }))
    if (event.type === "step") losses.push(event.loss);
  const values: number[] = [];
  for (const { name } of setting.trainable) values.push(...(await setting.store.read(name)));
  return { setting, losses, values };
}

/** Acts after the given steps. */
const at = (steps: readonly number[], act: (pause: Pause) => Promise<Changes> | Changes): Between => ({
  measures: true,
  due: ({ step }) => steps.includes(step),
  act,
});
const idle = at([], () => ({}));
const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));

describe("a method that works between steps", () => {
  it("is asked before the first step, after each one and after the last, and told of epochs", async () => {
    const asked: string[] = [];
    await outcome({
      due: ({ step, steps, perEpoch }) => {
        asked.push(`${step}/${steps}, ${perEpoch}`);
        return false;
      },
      act: () => ({}),
    });
    expect([...new Set(asked)]).toEqual(Array.from({ length: 10 }, (_, i) => `${i}/9, 4`));
  });

  it("changes no bit by looking", async () => {
    const plain = await outcome(idle, {}, { dropout: 0.3 });
    const looked = await outcome(
      at([0, 3, 9], async (pause) => {
        for await (const _ of pause.measure(3)) for (const o of pause.owned) await pause.gradient(o);
        return {};
      }),
      {},
      { dropout: 0.3 },
    );
    expect(looked.values).toEqual(plain.values);
  });

  it("reads values and the gradients that the optimizer used", async () => {
    const norms: number[] = [];
    await outcome(
      at([0, 4], async ({ owned, gradient, value }) => {
        const gradients = await Promise.all(owned.map(gradient));
        norms.push(norm(gradients.flatMap((g) => [...g])));
        expect(await value(owned[0]!)).toHaveLength(gradients[0]!.length);
        return {};
      }),
      { maxGradNorm: 0.01 },
    );
    expect(norms[0]).toBe(0);
    expect(norms[1]).toBeCloseTo(0.01, 5);
  });

  it("measures the batches that training is about to see", async () => {
    const measured: number[] = [];
    await outcome(
      at([0], async ({ owned, gradient, measure }) => {
        for await (const _ of measure(2))
          measured.push(norm((await Promise.all(owned.map(gradient))).flatMap((g) => [...g])));
        return {};
      }),
    );
    const seen: number[] = [];
    const setting = ready();
    for await (const event of train({ ...setting, ...job, steps: 2, lr: 0 }))
      if (event.type === "step") seen.push(event.gradNorm);
    expect(measured[0]).toBeCloseTo(seen[0]!, 12);
    expect(measured[1]).toBeCloseTo(seen[1]!, 12);
  });

  it("sets values", async () => {
    const { setting, values } = await outcome(
      at([9], ({ owned }) => ({ values: new Map(owned.map((o) => [o, new Float64Array(o.shape[0]! * o.shape[1]!)])) })),
    );
    expect(values.every((v) => v === 0)).toBe(true);
    expect(values.length).toBeGreaterThan(0);
    setting.runtime.dispose();
  });

  it("sets learning rates: what has none does not move any more", async () => {
    const stop = at([0], ({ owned }) => ({ lrScale: new Map(owned.map((o) => [o, 0])) }));
    const [stopped, start] = [await outcome(stop), await outcome(idle, { lr: 0 })];
    expect(stopped.values).toEqual(start.values);
  });

  it("starts the optimizer anew", async () => {
    const restarted = await outcome(at([4], () => ({ restart: true })));
    const plain = await outcome(idle);
    expect(restarted.losses.slice(0, 5)).toEqual(plain.losses.slice(0, 5));
    expect(restarted.losses[6]).not.toBe(plain.losses[6]);
  });

  it("gives the bits of an uninterrupted run when resumed", async () => {
    const work = at([0, 4], ({ progress, owned }) => ({
      restart: progress.step === 4,
      lrScale: new Map(owned.map((o, i) => [o, 1 / (1 + i + progress.step)])),
    }));
    const straight = await outcome(work);
    const kept: Checkpoint[] = [];
    await outcome(work, { saveEvery: 5, checkpoints: { save: async (c) => `memory/${kept.push(c)}` } });
    const resumed = await outcome(work, { resume: kept[0] });
    expect(resumed.losses).toEqual(straight.losses.slice(5));
    expect(resumed.values).toEqual(straight.values);
  });
});
