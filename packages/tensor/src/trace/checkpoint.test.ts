/** @file Checkpointing keeps bits and forgets values. */
import { describe, expect, it } from "vitest";
import { gelu } from "../ops/activations.ts";
import { add, mul } from "../ops/elementwise.ts";
import { leaf } from "../ops/leaf.ts";
import { linear } from "../ops/linear.ts";
import { sum } from "../ops/reduce.ts";
import { hostRuntime } from "../runtime/host.ts";
import { planningRuntime } from "../runtime/planner.ts";
import type { MemoryPlan } from "../runtime/runtime.ts";
import { sizeOf } from "../shape.ts";
import { type Node, type Tensor, Trace } from "../tensor.ts";
import { checkpoint } from "./checkpoint.ts";
import { grad } from "./grad.ts";
import { reachable } from "./graph.ts";

const LAYERS = 4;
const WIDTH = 8;
const ROWS = 32;

/** Loss and gradients of a stack of layers, each of which keeps three values of x's size. */
function stack(trace: Trace, region: typeof checkpoint, layers = LAYERS): { loss: Tensor; grads: readonly Tensor[] } {
  const weights = Array.from({ length: layers }, (_, i) => trace.input(`w${i}`, [WIDTH, WIDTH]));
  let h = trace.input("x", [ROWS, WIDTH]);
  for (const w of weights) h = region(h, (x) => mul(gelu(linear(gelu(x), w)), x));
  const loss = sum(mul(h, h));
  return { loss, grads: grad(loss, weights) as readonly Tensor[] }; // the loss depends on every weight
}

const offloading: typeof checkpoint = (x, f) => checkpoint(x, f, { offload: true });
const plainly = <R>(x: Tensor, f: (x: Tensor) => R): R => f(x);

/** Most elements, besides inputs, alive at once when nodes run in order and a value dies after its last use. */
function peak(roots: readonly Tensor[]): number {
  const nodes = reachable(roots).filter((n) => n.op !== leaf);
  const last = new Map<Tensor, Node>();
  for (const node of nodes) for (const t of node.inputs) last.set(t, node);
  let [live, most] = [0, 0];
  for (const node of nodes) {
    for (const t of node.outputs) live += sizeOf(t.shape);
    most = Math.max(most, live);
    for (const t of new Set(node.inputs))
      if (last.get(t) === node && !roots.includes(t) && t.node.op !== leaf) live -= sizeOf(t.shape);
  }
  return most;
}

describe("checkpoint", () => {
  it("gives the same bits for the loss and every gradient", async () => {
    const run = async (region: typeof checkpoint): Promise<unknown> => {
      const runtime = hostRuntime();
      const program = await runtime.compile(runtime.store(), (trace) => {
        const { loss, grads } = stack(trace, region);
        return { loss, ...Object.fromEntries(grads.map((g, i) => [`d${i}`, g])) };
      });
      const values = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 1.7) / 2);
      const inputs = Object.fromEntries(Array.from({ length: LAYERS }, (_, i) => [`w${i}`, values(WIDTH * WIDTH)]));
      return program.run({ x: values(ROWS * WIDTH), ...inputs });
    };
    expect(await run(checkpoint)).toEqual(await run(plainly));
    expect(await run(offloading)).toEqual(await run(plainly));
  });

  it("has fewer elements alive at once", () => {
    const peakOf = (region: typeof checkpoint): number => {
      const { loss, grads } = stack(new Trace(), region);
      return peak([loss, ...grads]);
    };
    expect(peakOf(checkpoint)).toBeLessThan(0.7 * peakOf(plainly));
  });

  it("keeps on the device what one layer needs, however many there are, where it is given its input from the host", () => {
    const planned = (region: typeof checkpoint, layers: number): MemoryPlan => {
      const runtime = planningRuntime();
      return runtime.plan(runtime.store(), (trace) => {
        const { loss, grads } = stack(trace, region, layers);
        return { loss, lowest: grads[0] as Tensor };
      });
    };
    const value = 4 * ROWS * WIDTH;
    const [few, many] = [planned(offloading, LAYERS), planned(offloading, 3 * LAYERS)];
    expect(many["activations"]).toBe(few["activations"]);
    expect(many["offloaded"]).toBe((3 * LAYERS - 1) * value); // the first layer's is the program's input
    const [fewKept, manyKept] = [planned(checkpoint, LAYERS), planned(checkpoint, 3 * LAYERS)];
    expect(manyKept["activations"]! - fewKept["activations"]!).toBe(2 * LAYERS * value);
  });

  it("sends nothing to the host that no gradient asks for", () => {
    const trace = new Trace();
    const [x, w] = [trace.input("x", [3, 3]), trace.input("w", [3, 3])];
    const layer = (h: Tensor): Tensor => gelu(linear(gelu(h), w));
    const below = offloading(offloading(x, gelu), gelu);
    const [g] = grad(sum(offloading(below, layer)), [w]);
    const names = reachable([g as Tensor]).map(({ op }) => op.name); // the sum depends on w
    expect(names.filter((name) => name === "keep" || name === "restore")).toEqual(["keep", "restore"]);
  });

  it("recomputes nothing where no gradient asks for it", () => {
    const trace = new Trace();
    const x = trace.input("x", [3]);
    const y = checkpoint(x, (h) => gelu(gelu(h)));
    expect(reachable([sum(y)]).map((n) => n.op.name)).toEqual(["leaf", "gelu", "gelu", "sum", "reshape"]);
  });

  it("recomputes only what the region's own gradients ask for", () => {
    const trace = new Trace();
    const x = trace.input("x", [3]);
    let h = x;
    for (let i = 0; i < LAYERS; i++) h = checkpoint(h, (y) => add(gelu(gelu(y)), y));
    const nodes = reachable(grad(sum(h), [x]) as readonly Tensor[]); // the loss depends on x
    // Of each layer the inner one, which the outer one's gradient reads; what a layer gives to the next is there.
    expect(nodes.filter((n) => n.region === null && n.op.name === "gelu")).toHaveLength(LAYERS);
  });

  it("takes a region inside a region as part of the outer one", () => {
    const trace = new Trace();
    const y = checkpoint(trace.input("x", [3]), (h) => checkpoint(gelu(h), gelu));
    expect(y.node.region).toBe(y.node.inputs[0]?.node.region);
    expect(trace.region).toBeNull();
  });

  it("leaves the region when the function throws", () => {
    const trace = new Trace();
    const fail = (): never => {
      throw new Error("inside");
    };
    expect(() => checkpoint(trace.input("x", [3]), fail)).toThrow("inside");
    expect(trace.region).toBeNull();
  });
});
