import type { TrainableBucket } from "@graftml/peft";
import {
  apply,
  applyAll,
  type Device,
  deviceRuntime,
  hostRuntime,
  type Op,
  requestDevice,
  type Runtime,
  sizeOf,
  type Target,
  type Trace,
} from "@graftml/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { declareTraining } from "../src/buckets.ts";
import { squaredNormOp } from "../src/clip.ts";
import { adamw, adamw8bit, type Optimizer, sgd } from "../src/index.ts";
import { adamw8bitOp, updateIn8 } from "../src/optim/adamw-8bit.ts";
import { adamwOp } from "../src/optim/adamw.ts";
import { traceUpdate } from "../src/program.ts";

/** The op with bindings of at most `bytes`, so that a small bucket takes several dispatches. */
const chunked = <A>(op: Op<A>, bytes: number): Op<A> => ({
  ...op,
  kernel: (spec, target: Target) => op.kernel(spec, { ...target, maxBinding: bytes }),
});

const wave = (size: number, phase: number): Float32Array =>
  new Float32Array(size).map((_, i) => Math.sin(0.7 * i + phase));

/** Three steps of an optimizer on parameters of the given sizes; everything it changed, and the norms. */
async function threeSteps(
  runtime: Runtime,
  optimizer: Optimizer,
  sizes: readonly number[],
): Promise<Record<string, number[]>> {
  const store = runtime.store();
  const members = sizes.map((n, i) => ({ name: `x/${i}`, shape: [n], values: () => wave(n, i) }));
  const trainable = store.group("x", members, "trainable").map((bucket): TrainableBucket => ({
    ...bucket,
    members: bucket.members.map((m, i) => ({ ...m, lrScale: 1 + i, decay: i % 2 === 0 })),
  }));
  const buckets = declareTraining(store, trainable, optimizer);
  const program = await runtime.compile(store, (trace: Trace) =>
    traceUpdate(trace, buckets, { optimizer, maxGradNorm: 1 }),
  );
  const results: Record<string, number[]> = { norms: [] };
  for (const step of [1, 2, 3]) {
    for (const { name, shape } of members) await store.write(`gradients/${name}`, wave(sizeOf(shape), 3 * step));
    const { grad_norm: norm } = await program.run({ optimizer: optimizer.scalars(step, 0.01) });
    results["norms"]!.push(...norm!);
  }
  for (const { bucket, state } of buckets)
    for (const name of [bucket.name, ...state]) results[name] = [...(await store.read(name))];
  program.dispose();
  return results;
}

describe.each(["lanes", "tiles"] as const)("on the device, with kernels for %s", (family) => {
  let device: Device;
  let runtime: Runtime;
  beforeAll(async () => {
    device = await requestDevice({ family });
    runtime = deviceRuntime(device);
  });
  afterAll(() => runtime.dispose());

  const small: Optimizer = {
    ...adamw({ weightDecay: 0.1 }),
    update: ({ value, gradient, clip, state, rates, scalars }) =>
      void applyAll(chunked(adamwOp, 1024), [value, ...state, gradient, rates, scalars, clip], {}),
  };
  const smallIn8: Optimizer = { ...adamw8bit(), update: (bucket) => updateIn8(bucket, chunked(adamw8bitOp, 1024)) };
  it.each([
    ["AdamW", adamw({ weightDecay: 0.1 }), [1]],
    ["AdamW", adamw({ weightDecay: 0.1 }), [3, 64, 65, 130]],
    ["AdamW, more elements than threads", adamw(), [100_003, 7]],
    ["AdamW, in chunks", small, [700, 3, 65]],
    ["AdamW in eight bits", adamw8bit({ weightDecay: 0.1 }), [3, 256, 700]],
    ["AdamW in eight bits, in chunks", smallIn8, [700, 3, 65]],
    ["SGD", sgd({ weightDecay: 0.1 }), [3, 65]],
    ["SGD with momentum", sgd({ momentum: 0.9 }), [3, 65]],
  ] as const)("updates as the reference does: %s %#", async (_, optimizer, sizes) => {
    const [got, want] = [
      await threeSteps(runtime, optimizer, sizes),
      await threeSteps(hostRuntime(), optimizer, sizes),
    ];
    expect(Object.keys(got)).toEqual(Object.keys(want));
    for (const [name, values] of Object.entries(want)) {
      // Where a number lies between two codes, rounding decides.
      if (name.startsWith("codes")) {
        expect(values.filter((word, i) => word !== got[name]![i]).length).toBeLessThan(0.01 * values.length);
        continue;
      }
      const peak = Math.max(...values.map(Math.abs));
      const worst = Math.max(...values.map((x, i) => Math.abs(x - got[name]![i]!)));
      expect(worst / peak, name).toBeLessThan(2e-6);
    }
  });

  it("adds up squares in chunks to the same norm", async () => {
    const norm = async (on: Runtime, op: Op<Record<never, never>>): Promise<number> => {
      const program = await on.compile(on.store(), (trace) => ({ y: apply(op, [trace.input("x", [6400])], {}) }));
      const { y } = await program.run({ x: wave(6400, 1) });
      program.dispose();
      return y![0]!;
    };
    const want = await norm(hostRuntime(), squaredNormOp);
    for (const op of [squaredNormOp, chunked(squaredNormOp, 1024)])
      expect(Math.abs((await norm(runtime, op)) / want - 1)).toBeLessThan(1e-6);
  });
});
