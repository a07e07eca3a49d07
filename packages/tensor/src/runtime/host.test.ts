import { describe, expect, it } from "vitest";
import { shift } from "../ops/elementwise.ts";
import { hostRuntime } from "./host.ts";
import { BUCKET_BLOCK } from "./runtime.ts";

const pair = (values?: () => number[]) => ["a", "b"].map((name) => ({ name, shape: [2], ...(values && { values }) }));

describe("the interpreter's store", () => {
  it("keeps a group's members in their bucket, whoever reads first and however many read at once", async () => {
    const store = hostRuntime().store();
    store.group(
      "g",
      pair(() => [1, 2]),
      "trainable",
    );
    const [a, whole, b] = await Promise.all([store.read("a"), store.read("g#0"), store.read("b")]);
    expect([...a, ...b]).toEqual([1, 2, 1, 2]);
    const second = BUCKET_BLOCK;
    expect([whole[0], whole[1], whole[second], whole[second + 1]]).toEqual([1, 2, 1, 2]);
    await store.write("b", [7, 8]);
    expect((await store.read("g#0"))[second + 1]).toBe(8);
  });

  it("forgets a group that nobody has read", async () => {
    const store = hostRuntime().store();
    store.group(
      "g",
      pair(() => [1, 2]),
      "trainable",
    );
    store.delete("g");
    store.group(
      "g",
      pair(() => [3, 4]),
      "trainable",
    );
    expect([...(await store.read("a"))]).toEqual([3, 4]);
  });

  it("counts what is parked no longer, until a program is compiled that takes it back", async () => {
    const runtime = hostRuntime();
    const store = runtime.store();
    store.declare("w", { shape: [2], dtype: "f32", kind: "optimizer", values: () => [1, 2] });
    expect([...(await store.read("w"))]).toEqual([1, 2]);
    await store.park("w");
    expect(runtime.allocated()).toEqual({});
    await store.write("w", [3, 4]);
    expect([...(await store.read("w"))]).toEqual([3, 4]);
    expect(runtime.allocated()).toEqual({});
    const program = await runtime.compile(store, (t) => ({ y: shift(t.param("w", [2]), 1) }));
    expect(runtime.allocated()).toEqual({ optimizer: 16 });
    expect([...(await program.run({}))["y"]!]).toEqual([4, 5]);
  });

  it("refuses values of another length, by name", async () => {
    const store = hostRuntime().store();
    store.declare("w", { shape: [3], dtype: "f32", values: () => [1, 2] });
    await expect(store.read("w")).rejects.toThrow("w: got 2 values, wants 3.");
  });
});
