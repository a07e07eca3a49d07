import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  cast,
  type DeviceRuntime,
  deviceRuntime,
  type Outputs,
  requestDevice,
  scale,
  type Trace,
} from "../src/index.ts";

let runtime: DeviceRuntime;
beforeAll(async () => {
  runtime = deviceRuntime(await requestDevice());
});
afterAll(() => runtime.dispose());

describe("values given to the device's store", () => {
  const shared = new Float32Array(new SharedArrayBuffer(12));
  shared.set([1, 2, 3]);
  it.each([
    ["in its own type", "f32", Float32Array.of(1, 2, 3)],
    ["in its own type, of an odd number of words", "f16", Uint16Array.of(0x3c00, 0x4000, 0x4200)],
    ["in memory that threads share", "f32", shared],
    ["as words for a wider type", "f32", Uint16Array.of(0x3c00, 0x4000, 0x4200)],
    ["as a list", "f32", [1, 2, 3]],
  ] as const)("arrive %s", async (_, dtype, values) => {
    const store = runtime.store();
    store.declare("w", { shape: [3], dtype, values: () => values });
    const program = await runtime.compile(store, (t) => ({ y: scale(cast(t.param("w", [3], dtype), "f32"), 2) }));
    expect([...(await program.run({}))["y"]!]).toEqual([2, 4, 6]);
    program.dispose();
  });

  it("arrive piece by piece, whole numbers of words at a time", async () => {
    async function* pieces() {
      const piece = new Uint16Array(2);
      for (const words of [[0x3c00, 0x4000], [0x4200, 0x4400], [0x4500]]) {
        piece.set(words);
        yield piece.subarray(0, words.length); // used again
      }
    }
    const store = runtime.store();
    store.declare("w", { shape: [5], dtype: "f16", values: pieces });
    expect([...(await store.read("w"))]).toEqual([1, 2, 3, 4, 5]); // not on the device yet
    const program = await runtime.compile(store, (t) => ({ y: cast(t.param("w", [5], "f16"), "f32") }));
    expect([...(await program.run({}))["y"]!]).toEqual([1, 2, 3, 4, 5]);
    program.dispose();
  });

  it("are refused if they are too many or too few", async () => {
    async function* pieces() {
      yield [1, 2];
      yield [3, 4];
    }
    const store = runtime.store();
    store.declare("w", { shape: [3], dtype: "f32", values: pieces });
    await expect(runtime.compile(store, (t) => ({ y: scale(t.param("w", [3]), 2) }))).rejects.toThrow(
      "w: got 4 values, wants 3.",
    );
  });
});

describe("values that are parked", () => {
  it("leave the device, are read and written on the host, and come back with a program that needs them", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    const words = Uint32Array.of(0x7fa00001, 0xffffffff, 3); // as f32 two of them are no numbers
    store.declare("w", { shape: [3], dtype: "u32", kind: "optimizer", values: () => words });
    store.group("g", [{ name: "a", shape: [2], values: () => [1, 2] }], "optimizer");
    const build = (t: Trace): Outputs => ({ w: t.param("w", [3], "u32"), y: scale(t.param("a", [2]), 2) });
    (await own.compile(store, build)).dispose();
    const before = own.allocated()["optimizer"];
    await store.park("w", "g");
    expect(own.allocated()["optimizer"]).toBeUndefined();
    await store.write("a", [3, 4]);
    expect([...(await store.read("a")), ...(await store.read("w"))]).toEqual([3, 4, ...words]);
    expect(own.allocated()["optimizer"]).toBeUndefined();
    const program = await own.compile(store, build);
    expect(own.allocated()["optimizer"]).toBe(before);
    const { w, y } = await program.run({});
    expect([...y!, ...w!]).toEqual([6, 8, ...words]);
    own.dispose();
  });

  it("leave a device that has little memory left", async () => {
    const own = deviceRuntime(await requestDevice({ memory: 70_000 }));
    const store = own.store();
    const values = new Float32Array(16_000).map((_, i) => i);
    store.declare("w", { shape: [16_000], dtype: "f32", values: () => values });
    await store.write("w", values);
    await store.park("w");
    expect(await store.read("w")).toEqual(values);
    own.dispose();
  });
});
