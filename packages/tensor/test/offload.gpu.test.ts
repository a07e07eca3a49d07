import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  add,
  assign,
  checkpoint,
  deviceBytes,
  type DeviceRuntime,
  deviceRuntime,
  gelu,
  grad,
  linear,
  mul,
  requestDevice,
  scale,
  type Store,
  sub,
  sum,
  type Tensor,
  type Trace,
} from "../src/index.ts";
import { noise } from "./noise.ts";

const [LAYERS, WIDTH] = [5, 16];
const names = Array.from({ length: LAYERS }, (_, i) => `w${i}`);

let runtime: DeviceRuntime;
beforeAll(async () => void (runtime = deviceRuntime(await requestDevice())));
afterAll(() => runtime.dispose());

function weights(on = runtime): Store {
  const store = on.store();
  names.forEach((name, i) =>
    store.declare(name, { shape: [WIDTH, WIDTH], dtype: "f32", values: () => noise([WIDTH, WIDTH], i) }),
  );
  return store;
}

/** A step of gradient descent on a stack of recomputed layers. */
const step =
  (offload: boolean, rows = 64) =>
  (trace: Trace) => {
    const params = names.map((name) => trace.param(name, [WIDTH, WIDTH]));
    const layer = (w: Tensor) => (x: Tensor) => add(x, scale(linear(gelu(linear(x, w)), w), 0.1));
    const first = scale(trace.input("x", [rows, WIDTH]), 0.5);
    const last = params.reduce((h, w) => checkpoint(h, layer(w), { offload }), first);
    const loss = scale(sum(mul(last, last)), 1 / (rows * WIDTH));
    grad(loss, params).forEach((g, i) => assign(params[i]!, sub(params[i]!, scale(g as Tensor, 0.1)))); // it depends on all
    return { loss };
  };
const total = (trace: Trace) => ({
  y: names.map((name) => sum(trace.param(name, [WIDTH, WIDTH]))).reduce(add),
});
const batch = (i: number, rows = 64) => ({ x: noise([rows, WIDTH], 100 + i) });

/** Losses of steps, and after each of them the sum of all weights. */
async function train(offload: boolean, { together = false, on = runtime } = {}): Promise<readonly number[]> {
  const store = weights(on);
  const program = await on.compile(store, step(offload));
  const reader = await on.compile(store, total);
  const results: Promise<Readonly<Record<string, ArrayLike<number>>>>[] = [];
  for (let i = 0; i < 4; i++) {
    results.push(program.run(batch(i)), reader.run({}));
    if (!together) await Promise.all(results);
  }
  const values = (await Promise.all(results)).map((r) => (r["loss"] ?? r["y"])![0]!);
  program.dispose();
  reader.dispose();
  return values;
}

describe("values that wait on the host", () => {
  it("come back as they were: training gives the same bits", async () => {
    const [got, want] = [await train(true), await train(false)];
    expect(got).toEqual(want);
    expect(new Set(want).size).toBe(want.length);
  });

  it("keep runs in the order they were asked for, awaited or not, with those of other programs", async () => {
    expect(await train(true, { together: true })).toEqual(await train(false));
  });

  it("come back as often as they are asked for", async () => {
    const both = async (offload: boolean): Promise<unknown> => {
      const program = await runtime.compile(weights(), (trace) => {
        const w = trace.param("w0", [WIDTH, WIDTH]);
        const x = scale(trace.input("x", [64, WIDTH]), 0.5);
        const y = checkpoint(x, (h) => mul(gelu(linear(h, w)), h), { offload });
        const [sums, squares] = [grad(sum(y), [w]), grad(sum(mul(y, y)), [w])];
        return { sums: sums[0] as Tensor, squares: squares[0] as Tensor }; // both depend on w
      });
      const results = [await program.run(batch(0)), await program.run(batch(1))];
      program.dispose();
      return results;
    };
    expect(await both(true)).toEqual(await both(false));
  });

  it("are told beside what the device has, and no cap holds for them", async () => {
    const store = weights();
    const [kept, offloaded] = [runtime.plan(store, step(false, 512)), runtime.plan(store, step(true, 512))];
    expect(offloaded).toMatchObject({ ...kept, activations: expect.any(Number), offloaded: LAYERS * 4 * 512 * WIDTH });
    expect(deviceBytes(offloaded)).toBeLessThan(deviceBytes(kept));
    const own = deviceRuntime(await requestDevice({ memory: deviceBytes(offloaded) }));
    await expect(own.compile(weights(own), step(false, 512))).rejects.toThrow(/needs .* of device memory/);
    const program = await own.compile(weights(own), step(true, 512));
    expect(own.allocated()).toEqual(offloaded);
    await program.run(batch(0, 512));
    expect(own.allocated()).toEqual(offloaded);
    own.dispose();
  });

  it("survive what else is asked for in the middle of a run", async () => {
    const store = weights();
    const [small, want] = [await runtime.compile(store, step(true)), await train(false)];
    const first = small.run(batch(0));
    const read = store.read("w0"); // after the run
    const large = await runtime.compile(store, step(true, 256)); // in larger buffers
    const second = small.run(batch(1));
    small.dispose();
    expect([(await first)["loss"]![0], (await second)["loss"]![0]]).toEqual([want[0], want[2]]);
    expect(await read).not.toEqual(noise([WIDTH, WIDTH], 0));
    large.dispose();
    expect(runtime.allocated()["offloaded"]).toBeUndefined();
  });

  it("are there when every dispatch is timed", async () => {
    const timed = deviceRuntime(await requestDevice({ profile: true }));
    const store = weights(timed);
    const program = await timed.compile(store, step(true));
    const losses = [await program.run(batch(0)), await program.run(batch(1))].map(({ loss }) => loss![0]);
    const want = await train(false);
    expect(losses).toEqual([want[0], want[2]]);
    expect((await program.profile()).reduce((sum, { ms }) => sum + ms, 0)).toBeGreaterThan(0);
    timed.dispose();
  });
});
