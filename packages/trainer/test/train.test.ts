import { describe, expect, it } from "vitest";
import {
  adamw,
  causalLm,
  type Checkpoint,
  DataError,
  evaluate,
  type Example,
  linear,
  planRun,
  type Run,
  stepsIn,
  train,
  TrainError,
  type TrainEvent,
} from "../src/index.ts";
import { ready, rows } from "./toy.ts";

const noisy = { dropout: 0.3, penalty: 0.1 };
const job = { task: causalLm, rows: rows(7), batchSize: 2, steps: 9, lr: 0.02, seed: 5 } as const;

/** Runs to the end; returns what was told and the trained values. */
async function outcome(overrides: Partial<Run> = {}, config: Parameters<typeof ready>[0] = {}) {
  const setting = ready(config);
  const events: TrainEvent[] = [];
  for await (const event of train({ ...setting, ...job, ...overrides })) events.push(event);
  const values: number[] = [];
  for (const { name } of setting.trainable) values.push(...(await setting.store.read(name)));
  const steps = events.flatMap((e) => (e.type === "step" ? [e] : []));
  return { setting, events, steps, values, losses: steps.map((s) => s.loss) };
}

/** Checkpoints kept in memory. */
function shelf(): { readonly kept: Checkpoint[]; readonly checkpoints: NonNullable<Run["checkpoints"]> } {
  const kept: Checkpoint[] = [];
  return { kept, checkpoints: { save: async (checkpoint) => `memory/${kept.push(checkpoint)}` } };
}

const largestGap = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? NaN))));

describe("training", () => {
  it("makes the loss fall", async () => {
    const { losses } = await outcome({ steps: 60, batchSize: 7, lr: 0.05 });
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
  });

  it("tells every step once, in order, and then that it is done", async () => {
    const { events } = await outcome();
    expect(events.map((e) => [e.type, e.step])).toEqual([
      ...Array.from({ length: 9 }, (_, i) => ["step", i + 1]),
      ["done", 9],
    ]);
  });

  it("tells a step once two more have been submitted, so that the device never waits", async () => {
    const setting = ready();
    let submitted = 0;
    const compile: Run["runtime"]["compile"] = async (store, build) => {
      const program = await setting.runtime.compile(store, build);
      const run: typeof program.run = (inputs) => {
        submitted++;
        return program.run(inputs);
      };
      return { ...program, run };
    };
    const ahead: number[] = [];
    for await (const event of train({ ...setting, ...job, steps: 5, runtime: { ...setting.runtime, compile } }))
      if (event.type === "step") ahead.push(submitted - event.step);
    expect(ahead).toEqual([2, 2, 2, 1, 0]);
  });

  it("tells the tokens and labels of a step without padding, and the learning rate it used", async () => {
    const { steps } = await outcome({
      shuffle: false,
      batchSize: 3,
      steps: 2,
      schedule: linear({ steps: 2, warmup: 0 }),
    });
    const lengths = rows(7).map((r) => r.ids.length);
    const sum = (some: readonly number[]): number => some.reduce((a, b) => a + b, 0);
    expect(steps[0]!.tokens).toBe(sum(lengths.slice(0, 3)));
    expect(steps[0]!.labels).toBe(sum(lengths.slice(0, 3)) - 3); // nothing predicts a row's first token
    expect(steps.map((s) => s.lr)).toEqual([0.02, 0.01]);
  });

  it("changes nothing of the base", async () => {
    const { setting } = await outcome();
    const untouched = ready();
    for (const name of ["embed.weight", "block.mix.weight", "head.weight"])
      expect(await setting.store.read(name)).toEqual(await untouched.store.read(name));
  });

  it("gives the same bits for the same seed, noise included, and others for another", async () => {
    const [a, b, c] = [await outcome({}, noisy), await outcome({}, noisy), await outcome({ seed: 6 }, noisy)];
    expect(b.losses).toEqual(a.losses);
    expect(b.values).toEqual(a.values);
    expect(c.losses).not.toEqual(a.losses);
  });

  it("starts from a mean over label tokens, whatever rows are padded with", async () => {
    const { setting, losses } = await outcome({ shuffle: false, batchSize: 4, steps: 1 });
    const apart = await evaluate({ ...setting, ...ready(), task: causalLm, batchSize: 1 }, rows(4));
    expect(Math.abs(losses[0]! - apart.loss)).toBeLessThan(1e-12);
  });

  it("adds penalties to the loss once, however many micro-batches there are", async () => {
    const [with1, without1] = [await outcome({ steps: 1 }, { penalty: 2 }), await outcome({ steps: 1 })];
    const [with3, without3] = [
      await outcome({ steps: 1, accumulate: 3 }, { penalty: 2 }),
      await outcome({ steps: 1, accumulate: 3 }),
    ];
    expect(with1.losses[0]! - without1.losses[0]!).toBeGreaterThan(0.01);
    expect(with3.losses[0]! - without3.losses[0]!).toBeCloseTo(with1.losses[0]! - without1.losses[0]!, 12);
  });

  it("gives back gradients and moments when it ends, also when its reader stops early", async () => {
    const setting = ready();
    for await (const event of train({ ...setting, ...job })) if (event.step === 2) break;
    expect(setting.runtime.allocated()).not.toHaveProperty("optimizer");
    expect(setting.runtime.allocated()).not.toHaveProperty("gradients");
    for await (const event of train({ ...setting, ...job })) if (event.step === 2) break;
  });

  it("changes no bit by recomputing activations, wherever what they are recomputed from waits", async () => {
    const [kept, recomputed] = [await outcome({}, noisy), await outcome({ checkpointActivations: true }, noisy)];
    expect(recomputed.values).toEqual(kept.values);
    const offloaded = await outcome({ checkpointActivations: true, offloadActivations: true }, noisy);
    expect(offloaded.values).toEqual(kept.values);
  });

  it("does not offload activations that are not recomputed", async () => {
    await expect(outcome({ offloadActivations: true })).rejects.toThrow(/it needs checkpointActivations: true/);
  });
});

describe("accumulating micro-batches", () => {
  const stepsOfOne = { batchSize: 6, steps: 4, shuffle: false, maxGradNorm: 0.5 };

  it("equals one large batch, weighed by label tokens", async () => {
    const large = await outcome(stepsOfOne);
    const small = await outcome({ ...stepsOfOne, batchSize: 2, accumulate: 3 });
    expect(small.steps.map((s) => s.labels)).toEqual(large.steps.map((s) => s.labels));
    expect(largestGap(small.losses, large.losses)).toBeLessThan(1e-12);
    expect(
      largestGap(
        small.steps.map((s) => s.gradNorm),
        large.steps.map((s) => s.gradNorm),
      ),
    ).toBeLessThan(1e-12);
    expect(largestGap(small.values, large.values)).toBeLessThan(1e-12);
  });

  it("weighs the last, shorter step of an epoch by the labels that are left", async () => {
    const all = { ...stepsOfOne, batchSize: 5, steps: 2 };
    const [large, small] = [await outcome(all), await outcome({ ...all, batchSize: 1, accumulate: 5 })];
    expect(large.steps[1]!.labels).toBeLessThan(large.steps[0]!.labels);
    expect(largestGap(small.values, large.values)).toBeLessThan(1e-12);
  });

  it("draws noise of its own for every micro-batch", async () => {
    const same = [rows(1)[0]!, rows(1)[0]!];
    const twice = await outcome({ rows: same, batchSize: 1, accumulate: 2, steps: 1 }, { dropout: 0.5 });
    const once = await outcome({ rows: same.slice(1), batchSize: 1, steps: 1 }, { dropout: 0.5 });
    expect(twice.steps[0]!.gradNorm).not.toBe(once.steps[0]!.gradNorm);
  });
});

describe("clipping", () => {
  it("tells the norm before clipping and bounds the step by it", async () => {
    const free = await outcome({ steps: 1, maxGradNorm: 0 });
    const norm = free.steps[0]!.gradNorm;
    const loose = await outcome({ steps: 1, maxGradNorm: 2 * norm });
    expect(loose.steps[0]!.gradNorm).toBe(norm);
    expect(loose.values).toEqual(free.values);
    // AdamW does not feel the scale of gradients, but for ε.
    const coarse = adamw({ eps: 1 });
    const [wide, tight] = [
      await outcome({ steps: 1, optimizer: coarse, maxGradNorm: 0 }),
      await outcome({ steps: 1, optimizer: coarse, maxGradNorm: norm / 10 }),
    ];
    expect(tight.steps[0]!.gradNorm).toBe(norm);
    const start = (await outcome({ steps: 1, lr: 0 })).values;
    expect(largestGap(tight.values, start)).toBeLessThan(0.2 * largestGap(wide.values, start));
  });
});

describe("evaluating", () => {
  it("gives the mean over all labels, wherever batches end", async () => {
    const setting = { ...ready(), task: causalLm };
    const one = await evaluate({ ...setting, batchSize: 1 }, rows(7));
    const all = await evaluate({ ...setting, batchSize: 5 }, rows(7));
    expect(Math.abs(one.loss - all.loss)).toBeLessThan(1e-12);
    expect(all["perplexity"]).toBe(Math.exp(all.loss));
  });

  it("happens every so many steps and at the end, without noise", async () => {
    const { events, setting } = await outcome({ heldOut: rows(3), evalEvery: 4 }, noisy);
    const evals = events.flatMap((e) => (e.type === "eval" ? [e] : []));
    expect(evals.map((e) => e.step)).toEqual([4, 8, 9]);
    const after = await evaluate({ ...setting, task: causalLm, batchSize: 2 }, rows(3));
    expect(evals[2]!.eval.loss).toBeCloseTo(after.loss, 12);
  });

  it("is cut short by an abort, which still leaves a checkpoint", async () => {
    const { kept, checkpoints } = shelf();
    const abort = new AbortController();
    const task = {
      ...causalLm,
      collate: (...args: Parameters<typeof causalLm.collate>) => {
        if (args[0].some((row) => row.origin === "held out")) abort.abort();
        return causalLm.collate(...args);
      },
    };
    const heldOut = rows(3).map((row) => ({ ...row, origin: "held out" }));
    const { events } = await outcome({ task, heldOut, evalEvery: 4, checkpoints, signal: abort.signal });
    expect(events.map((e) => e.type)).toEqual(["step", "step", "step", "step", "checkpoint"]);
    expect(kept[0]!.step).toBe(4);
  });

  it("does not change what training does", async () => {
    const [plain, watched] = [await outcome({}, noisy), await outcome({ heldOut: rows(3), evalEvery: 2 }, noisy)];
    expect(watched.values).toEqual(plain.values);
  });
});

describe("resuming", () => {
  it.each([{ accumulate: 1 }, { accumulate: 2 }])(
    "gives the bits of an uninterrupted run with $accumulate micro-batches",
    async (how) => {
      const how2 = { ...how, schedule: linear({ steps: 9, warmup: 2 }) };
      const straight = await outcome(how2, noisy);
      const { kept, checkpoints } = shelf();
      await outcome({ ...how2, saveEvery: 5, checkpoints }, noisy);
      expect(kept).toHaveLength(1);
      const resumed = await outcome({ ...how2, resume: kept[0] }, noisy);
      expect(resumed.steps.map((s) => s.step)).toEqual([6, 7, 8, 9]);
      expect(resumed.losses).toEqual(straight.losses.slice(5));
      expect(resumed.values).toEqual(straight.values);
    },
  );

  it("goes on after an abort, which finishes the step in flight and leaves a checkpoint", async () => {
    const straight = await outcome({}, noisy);
    const { kept, checkpoints } = shelf();
    const abort = new AbortController();
    const setting = ready(noisy);
    const events: TrainEvent[] = [];
    for await (const event of train({ ...setting, ...job, checkpoints, signal: abort.signal })) {
      events.push(event);
      if (event.step === 3) abort.abort();
    }
    const { step } = kept[0]!;
    expect(events.at(-1)).toEqual({ type: "checkpoint", step, path: "memory/1" });
    expect(events.filter((e) => e.type === "step")).toHaveLength(step);
    expect(step).toBeLessThan(9);
    expect((await outcome({ resume: kept[0] }, noisy)).values).toEqual(straight.values);
  });

  it("refuses the checkpoint of another run and names every difference", async () => {
    const { kept, checkpoints } = shelf();
    await outcome({ saveEvery: 5, checkpoints });
    await expect(outcome({ resume: kept[0], lr: 0.5, optimizer: adamw({ eps: 1e-6 }) })).rejects.toThrow(
      /step 5.*lr is 0.02 there and 0.5 here; optimizer.eps is 1e-8 there and 0.000001 here/,
    );
    await expect(outcome({ resume: kept[0], precision: "f16" })).rejects.toThrow(/precision is f32 there and f16 here/);
    await expect(outcome({ resume: kept[0], rows: rows(7, { longest: 9 }) })).rejects.toThrow(/data is 7 rows/);
    await expect(outcome({ resume: kept[0] }, { rank: 3 })).rejects.toThrow(/trainable is/);
  });
});

describe("what cannot be trained", () => {
  const bad = (row: Example): Promise<unknown> => outcome({ rows: [...rows(2), row] });

  it("is refused before the first step, with the row's number and origin", async () => {
    await expect(bad({ ids: [1, 2, 3], labels: [-100, -100, -100], origin: "line 9 of x.jsonl" })).rejects.toThrow(
      /row 2 \(line 9 of x\.jsonl\) has no label/,
    );
    await expect(bad({ ids: [4], labels: [4] })).rejects.toThrow(/row 2 has no label/);
    await expect(bad({ ids: [1, 11], labels: [1, 11] })).rejects.toThrow(
      /row 2 has the token 11; this model knows 0 … 10/,
    );
    const long = Array.from({ length: 65 }, () => 1);
    await expect(bad({ ids: long, labels: long })).rejects.toThrow(/65 tokens; this model tells 64 positions apart/);
    await expect(outcome({ rows: [] })).rejects.toBeInstanceOf(DataError);
  });

  it("ends the run where the loss is no number, and nothing is saved after that", async () => {
    const { kept, checkpoints } = shelf();
    const run = outcome({ lr: 1e200, maxGradNorm: 0, saveEvery: 1, checkpoints }, { penalty: 1 });
    await expect(run).rejects.toBeInstanceOf(TrainError);
    await expect(run).rejects.toThrow(/step \d+: the loss is/);
    expect(kept).toHaveLength(1);
    for (const { adapter } of kept)
      for (const { values } of adapter.values()) expect(values.every(Number.isFinite)).toBe(true);
  });

  it("is settings that make no sense", async () => {
    await expect(outcome({ steps: 0 })).rejects.toThrow(/steps is 0/);
    await expect(outcome({ accumulate: 1.5 })).rejects.toThrow(/accumulate is 1.5/);
    await expect(outcome({ seed: -1 })).rejects.toThrow(/seed is -1/);
    await expect(outcome({ trainable: [] })).rejects.toThrow(/nothing to train/);
  });
});

describe("planning", () => {
  it("tells bytes by kind for the longest batch, and covers what is then allocated", async () => {
    const setting = ready();
    const run = { ...setting, ...job, accumulate: 2, heldOut: rows(2) };
    const plan = planRun(run);
    const size = 8 * setting.trainable.reduce((n, b) => n + b.size, 0);
    expect(plan).toMatchObject({ trainable: size, gradients: size });
    expect(plan["activations"]).toBeGreaterThan(0);
    const longer = planRun({ ...run, rows: [...job.rows, ...rows(60, { longest: 40 })] });
    expect(longer["activations"]).toBeGreaterThan(plan["activations"]!);
    for await (const event of train(run)) if (event.step === 2) break;
    expect(stepsIn({ rows: 7, batchSize: 2, accumulate: 2 })).toBe(2);
  });
});
