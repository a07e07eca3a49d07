import { describe, expect, it } from "vitest";
import { assign, linear, type Outputs, planningRuntime, type Store, sum, type Trace } from "../src/index.ts";

const GB = 1e9;

/** y = x Wᵀ for one row; W is [width, width] and never read. */
function product(width: number): { readonly store: Store; readonly build: (trace: Trace) => Outputs } {
  const store = planningRuntime().store();
  const values = (): never => {
    throw new Error("a plan reads no values");
  };
  store.declare("w", { shape: [width, width], dtype: "f32", values });
  store.declare("unused", { shape: [width], dtype: "f32", values });
  return {
    store,
    build: (trace) => ({ y: sum(linear(trace.input("x", [1, width]), trace.param("w", [width, width]))) }),
  };
}

describe("planningRuntime", () => {
  it("says what a program needs of memory that no machine has", () => {
    const { store, build } = product(2 ** 20);
    const plan = planningRuntime().plan(store, build);
    expect(plan["weights"]).toBe(4 * 2 ** 40);
    expect(plan["activations"]).toBeLessThan(GB);
  });

  it("counts buckets whole and what they are for", () => {
    const runtime = planningRuntime();
    const store = runtime.store();
    const members = [
      { name: "a", shape: [65] },
      { name: "b", shape: [1] },
    ];
    const sizes = store.group("g", members, "gradients").map((bucket) => bucket.size);
    const plan = runtime.plan(store, (trace) => {
      assign(trace.param("a", [65]), trace.input("x", [65]));
      return {};
    });
    expect(plan["gradients"]).toBe(4 * sizes.reduce((a, b) => a + b));
  });

  it("plans for the adapter that it is given, and refuses what that cannot bind", () => {
    const { store, build } = product(256);
    const small = planningRuntime({ family: "tiles", subgroup: 0, maxBinding: 512, maxWorkgroups: 65_535 });
    const own = small.store();
    own.declare("w", store.declaration("w"));
    expect(() => small.plan(own, build)).toThrow(/512/);
  });

  it("refuses to compile, to read and to write", async () => {
    const runtime = planningRuntime();
    const store = runtime.store();
    store.declare("w", { shape: [1], dtype: "f32" });
    await expect(runtime.compile(store, () => ({}))).rejects.toThrow(/plans only/);
    await expect(store.read("w")).rejects.toThrow(/read of w/);
    await expect(store.write("w", [1])).rejects.toThrow(/written to w/);
  });

  it("forgets what is deleted, and keeps groups whole", () => {
    const store = planningRuntime().store();
    store.group("g", [{ name: "a", shape: [1] }], "trainable");
    expect(() => store.delete("a")).toThrow(/delete the whole group/);
    store.delete("g");
    expect(store.has("a")).toBe(false);
  });
});
