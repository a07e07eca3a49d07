/** @file Fused programs do what plain ones do, in fewer steps. */
import { describe, expect, it } from "vitest";
import * as g from "../src/index.ts";
import { type LeafAttrs, leaf } from "../src/ops/leaf.ts";
import { fuse, type Step } from "../src/trace/fuse.ts";
import { isView, type Places } from "../src/trace/memory.ts";
import { isParameter, type Program, programs } from "./fusible.ts";
import { noise } from "./noise.ts";

interface Traced {
  readonly nodes: readonly g.Node[];
  readonly outputs: g.Outputs;
}

function trace({ shapes, build }: Pick<Program, "shapes" | "build">): Traced {
  const t = new g.Trace();
  const tensors = Object.entries(shapes).map(([name, shape]) => [
    name,
    isParameter(name) ? t.param(name, shape) : t.input(name, shape),
  ]);
  const outputs = build(Object.fromEntries(tensors), t);
  const updates = t.nodes.filter((n) => n.op.updates === true).flatMap((n) => n.outputs);
  return { nodes: g.reachable([...Object.values(outputs), ...updates]), outputs };
}

/** Runs steps by their references and returns the outputs, and the parameters as they are afterwards. */
function evaluate(steps: readonly Step[], outputs: g.Outputs): Readonly<Record<string, Float64Array>> {
  const values = new Map<g.Tensor, Float64Array>();
  const parameters: Record<string, Float64Array> = {};
  for (const { op, inputs, outputs: made, attrs } of steps) {
    if (op === leaf) {
      const { name } = attrs as LeafAttrs;
      const value = noise(made[0]!.shape, name.length + name.charCodeAt(0)).map((x) => Math.abs(x) + 0.1);
      values.set(made[0]!, value);
      if (isParameter(name)) parameters[`after ${name}`] = value;
      continue;
    }
    const args = inputs.map((t) => {
      const value = values.get(t);
      if (value === undefined) throw new Error(`${op.name} reads what no step made`);
      return value;
    });
    op.reference(args, { inputs, outputs: made, attrs }).forEach((v, i) => values.set(made[i]!, v));
  }
  const results = Object.entries(outputs).map(([name, t]) => [name, values.get(t)!.slice()] as const);
  return { ...Object.fromEntries(results), ...parameters };
}

const work = (steps: readonly Step[]): string[] =>
  steps.filter((s) => s.op !== leaf && (s.op.aliases === undefined || s.op.updates === true)).map((s) => s.op.name);

describe("fuse", () => {
  for (const program of programs) {
    it(`keeps the values of ${program.name}`, () => {
      const { nodes, outputs } = trace(program);
      expect(evaluate(fuse(nodes, Object.values(outputs)), outputs)).toEqual(evaluate(nodes, outputs));
    });

    it(`takes ${program.steps.length} steps for ${program.name}`, () => {
      const { nodes, outputs } = trace(program);
      expect(work(fuse(nodes, Object.values(outputs)))).toEqual(program.steps);
    });
  }

  it("leaves out nodes that nothing reads", () => {
    const { nodes, outputs } = trace({
      shapes: { x: [4] },
      build: ({ x }) => ({ y: g.exp(g.reshape(g.scale(x!, 2), [2, 2])) }),
    });
    expect(fuse(nodes, Object.values(outputs)).map((s) => s.op.name)).toEqual(["leaf", "fusedMap"]);
  });

  it("labels a step as its last node", () => {
    const { nodes, outputs } = trace({
      shapes: { x: [4] },
      build: ({ x }, t) => ({ y: t.within("b", () => g.exp(t.within("a", () => g.scale(x!, 2)))) }),
    });
    expect(fuse(nodes, Object.values(outputs)).at(-1)?.label).toBe("b");
  });

  it("computes nothing past a change of memory that only the runtime knows to be shared", () => {
    const program: Pick<Program, "shapes" | "build"> = {
      shapes: { p: [4], p1: [4], x: [4] },
      build: ({ p, p1, x }) => {
        const before = g.mul(p!, x!);
        const changed = g.assign(p1!, x!);
        return { y: g.add(before, changed) };
      },
    };
    const { nodes, outputs } = trace(program);
    const shared: Places = (t) => ({ buffer: "bucket", offset: 0, bytes: 4 * g.sizeOf(t.shape) });
    const apart: Places = (t) => ({ buffer: "bucket", offset: t.node.id * 256, bytes: 4 * g.sizeOf(t.shape) });
    expect(work(fuse(nodes, Object.values(outputs), { place: shared }))).toEqual(["mul", "assign", "add"]);
    expect(work(fuse(nodes, Object.values(outputs), { place: apart }))).toEqual(["assign", "fusedMap"]);
  });

  it("has no views among the inputs of what it fuses", () => {
    for (const program of programs) {
      const { nodes, outputs } = trace(program);
      for (const step of fuse(nodes, Object.values(outputs)))
        if (step.op.name.startsWith("fused")) expect(step.inputs.filter((t) => isView(t.node))).toEqual([]);
    }
  });
});
