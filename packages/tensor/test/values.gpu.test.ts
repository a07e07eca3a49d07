import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cast, type DeviceRuntime, deviceRuntime, requestDevice, scale } from "../src/index.ts";

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
