/** @file Fused programs do what plain ones do, in fewer steps. */
import { describe, expect, it } from "vitest";
import * as g from "../src/index.ts";
import type { FusedAttrs } from "../src/ops/fused.ts";
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

  // Two parameters that the runtime may lay over each other, as a bucket and its member: what fusing may do then, and else.
  const neighbours: readonly (Pick<Program, "name" | "build"> & {
    readonly over: string[];
    readonly apart: string[];
  })[] = [
    {
      name: "reads nothing after a change that it was read before",
      build: ({ p, p1, x }) => {
        const before = g.mul(p!, x!);
        return { y: g.add(before, g.assign(p1!, x!)) };
      },
      over: ["mul", "assign", "add"],
      apart: ["assign", "fusedMap"],
    },
    {
      name: "writes nothing in place that a loop reads at other places",
      build: ({ p, p1, x }) => ({ p: g.assign(p!, g.mul(p1!, x!)) }),
      over: ["mul", "assign"],
      apart: ["fusedUpdate"],
    },
    {
      name: "writes nothing in place that is read at other places and has other readers",
      build: ({ p, p1, x }) => {
        const v = g.mul(g.add(p!, p1!), x!);
        return { p: g.assign(p!, v), y: g.sum(g.mul(v, x!)) };
      },
      over: ["fusedMap", "assign", "fusedSum"],
      apart: ["fusedUpdate", "fusedSum"],
    },
    {
      name: "writes nothing in place that is changed before its last reader",
      build: ({ p, p1, x }) => {
        const v = g.mul(p!, x!);
        return { p: g.assign(p!, v), p1: g.assign(p1!, x!), y: g.sum(g.mul(v, x!)) };
      },
      over: ["mul", "assign", "assign", "fusedSum"],
      apart: ["fusedUpdate", "assign", "fusedSum"],
    },
  ];
  it.each(neighbours)("$name", ({ build, over, apart }) => {
    const { nodes, outputs } = trace({ shapes: { p: [4], p1: [4], x: [4] }, build });
    const placed = (step: number): Places => {
      return (t) =>
        (t.node.attrs as LeafAttrs).kind === "param"
          ? { buffer: "bucket", offset: t.node.id * step, bytes: 4 * g.sizeOf(t.shape) }
          : undefined;
    };
    const stepsWith = (place: Places): string[] => work(fuse(nodes, Object.values(outputs), { place }));
    expect({ over: stepsWith(placed(4)), apart: stepsWith(placed(256)) }).toEqual({ over, apart });
  });

  it("stores what it computes again where that was stored before, though less of it is read", () => {
    const { nodes, outputs } = trace({
      shapes: { x: [4, 8], w: [8, 8], a: [8, 8], m: [4, 8] },
      build: ({ x, w, a, m }) => {
        const loss = g.checkpoint(x!, (x) => {
          const h = g.exp(x);
          return g.sum(g.add(g.linear(h, w!), g.linear(g.mul(h, m!), a!)));
        });
        return { loss, da: g.grad(loss, [a!])[0]! };
      },
    });
    const fused = fuse(nodes, Object.values(outputs)).filter((s) => s.op.name === "fusedMap");
    const parts = fused.map(({ attrs }) => (attrs as FusedAttrs).calls.map((call) => call.op.name));
    expect(parts).not.toContainEqual(["exp", "mul"]);
    expect(nodes.filter((n) => n.original !== null).map((n) => n.op.name)).toEqual(["exp", "mul"]);
  });

  it("has no views among the inputs of what it fuses", () => {
    for (const program of programs) {
      const { nodes, outputs } = trace(program);
      for (const step of fuse(nodes, Object.values(outputs)))
        if (step.op.name.startsWith("fused")) expect(step.inputs.filter((t) => isView(t.node))).toEqual([]);
    }
  });
});
