/** @file What a trace records, what a gradient reaches, and which updates are refused. */
import { describe, expect, it } from "vitest";
import { TraceError } from "../errors.ts";
import { assign } from "../ops/assign.ts";
import { add, exp, mul, scale } from "../ops/elementwise.ts";
import { reshape, updateRows } from "../ops/layout.ts";
import { linear } from "../ops/linear.ts";
import { sum } from "../ops/reduce.ts";
import { hostRuntime } from "../runtime/host.ts";
import { type Tensor, Trace } from "../tensor.ts";
import { grad } from "./grad.ts";
import { print, reachable } from "./graph.ts";
import { checkUpdates } from "./updates.ts";

const opsOf = (...roots: Tensor[]): string[] => reachable(roots).map((n) => n.op.name);

describe("a trace", () => {
  it("gives one tensor for one name", () => {
    const trace = new Trace();
    expect(trace.param("w", [2])).toBe(trace.param("w", [2]));
    expect(trace.input("w", [2])).not.toBe(trace.param("w", [2]));
    expect([...trace.leaves]).toHaveLength(2);
  });

  it("refuses two shapes for one name", () => {
    const trace = new Trace();
    trace.param("w", [2]);
    expect(() => trace.param("w", [3])).toThrow("param w is declared as f32 [2] and as f32 [3]");
  });

  it("refuses to mix traces", () => {
    expect(() => add(new Trace().input("x", [1]), new Trace().input("x", [1]))).toThrow(
      "add: its inputs come from different traces",
    );
  });

  it("prints one line a node, with labels", () => {
    const trace = new Trace();
    const y = trace.within("model.mlp", () => exp(trace.input("x", [2, 3])));
    expect(print(reachable([y]))).toBe("%0 = leaf [2, 3]  model.mlp\n%1 = exp %0 [2, 3]  model.mlp");
  });

  it("keeps what is reachable, in the order in which it was made", () => {
    const trace = new Trace();
    const [a, b] = [trace.input("a", [1]), trace.input("b", [1])];
    exp(b);
    const y = add(scale(b, 2), scale(a, 3));
    expect(reachable([y]).map((n) => n.id)).toEqual([0, 1, 3, 4, 5]);
  });
});

describe("grad", () => {
  it("builds nothing for weights that nobody asked about", () => {
    const trace = new Trace();
    const frozen = trace.param("frozen", [4, 4]);
    const trained = trace.param("trained", [4, 4]);
    const loss = sum(linear(linear(trace.input("x", [2, 4]), frozen), trained));
    const [d] = grad(loss, [trained]);
    const added = opsOf(d!).slice(opsOf(loss).length - 1);
    expect(added.filter((op) => op === "matmul")).toHaveLength(1);
  });

  it("gives null for what the loss does not depend on", () => {
    const trace = new Trace();
    const [x, w] = [trace.input("x", [2]), trace.param("w", [2])];
    expect(grad(sum(x), [w, x]).map((g) => g === null)).toEqual([true, false]);
  });

  it("adds up what reaches a value by several ways", async () => {
    const runtime = hostRuntime();
    const program = await runtime.compile(runtime.store(), (trace) => {
      const x = trace.input("x", [2]);
      return { d: grad(sum(add(mul(x, x), reshape(x, [2]))), [x])[0]! };
    });
    expect(await program.run({ x: [3, -1] })).toEqual({ d: Float64Array.of(7, -1) });
  });

  it("refuses a loss that is no scalar, and an op without a gradient, by name and place", () => {
    const trace = new Trace();
    const x = trace.input("x", [2]);
    expect(() => grad(x, [x])).toThrow("the loss must be a scalar, not [2]");
    const p = trace.param("p", [2]);
    const y = trace.within("model.head", () => assign(p, x));
    expect(() => grad(sum(y), [x])).toThrow("assign at model.head has no gradient");
  });
});

describe("updates", () => {
  it("may be read through their result only", () => {
    const trace = new Trace();
    const p = trace.param("p", [2]);
    const view = reshape(p, [2, 1]);
    const after = assign(p, scale(p, 2));
    expect(() => checkUpdates(reachable([exp(after)]))).not.toThrow();
    expect(() => checkUpdates(reachable([add(after, p)]))).toThrow(
      "reads p after assign changed it; read the result of assign",
    );
    expect(() => checkUpdates(reachable([after, exp(view)]))).toThrow(TraceError);
  });

  it("are of parameters", () => {
    const trace = new Trace();
    const x = trace.input("x", [1, 4]);
    expect(() => assign(exp(x), x)).toThrow("the target must be a parameter");
    const y = updateRows(x, trace.input("r", [1, 1]), trace.input("s", [1], "i32"));
    expect(() => checkUpdates(reachable([y]))).toThrow("updateRows updates x, which is no parameter");
  });

  it("follow each other along a chain of results", () => {
    const trace = new Trace();
    const s = trace.input("s", [1], "i32");
    const once = updateRows(trace.param("cache", [1, 4]), trace.input("r", [1, 1]), s);
    expect(() => checkUpdates(reachable([exp(updateRows(once, trace.input("q", [1, 1]), s))]))).not.toThrow();
  });
});
