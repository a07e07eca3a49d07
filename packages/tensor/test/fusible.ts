/** @file Programs with much to fuse, for tests that compare fused with plain. */
import * as g from "../src/index.ts";

/** A function of inputs and parameters named as `shapes` names them; parameters are those that start with "p". */
export interface Program {
  readonly name: string;
  readonly shapes: Readonly<Record<string, g.Shape>>;
  readonly build: (t: Readonly<Record<string, g.Tensor>>, trace: g.Trace) => g.Outputs;
  /** Steps after fusing, leaves and views left out. */
  readonly steps: readonly string[];
}

export const isParameter = (name: string): boolean => name.startsWith("p");

/** One step of AdamW on a bucket, as an optimizer would write it. */
const adam: Program["build"] = ({ p, pm, pv, d, rate }) => {
  const m = g.add(g.scale(pm!, 0.9), g.scale(d!, 0.1));
  const v = g.add(g.scale(pv!, 0.99), g.scale(g.square(d!), 0.01));
  const step = g.div(m, g.shift(g.sqrt(v), 1e-3));
  const next = g.sub(p!, g.mul(rate!, g.add(step, g.scale(p!, 0.1))));
  return { m: g.assign(pm!, m), v: g.assign(pv!, v), p: g.assign(p!, next) };
};

export const programs: readonly Program[] = [
  {
    name: "a chain",
    shapes: { x: [5, 8], b: [8] },
    build: ({ x, b }) => ({ y: g.scale(g.gelu(g.add(x!, b!)), 0.5) }),
    steps: ["fusedMap"],
  },
  {
    name: "a diamond",
    shapes: { x: [7] },
    build: ({ x }) => {
      const s = g.sigmoid(x!);
      return { y: g.mul(s, g.sub(g.fill(x!.node.trace, [], 1), s)) };
    },
    steps: ["fusedMap"],
  },
  {
    name: "a value of two that two steps read",
    shapes: { x: [6, 4], y: [6, 4] },
    build: ({ x, y }) => {
      const e = g.mul(x!, y!);
      return { a: g.sum(e, [0]), b: g.sum(e, [1]) };
    },
    steps: ["mul", "sum", "sum"],
  },
  {
    name: "a value of one that two steps read",
    shapes: { x: [6, 4], y: [6, 4] },
    build: ({ x, y }) => {
      const e = g.exp(g.scale(x!, 2));
      return { a: g.sum(e, [0]), b: g.mul(y!, e) };
    },
    steps: ["fusedSum", "fusedMap"],
  },
  {
    name: "dropout and its gradient",
    shapes: { x: [6, 5], w: [4, 5] },
    build: ({ x, w }, t) => {
      const clock = t.input("clock", [2], "u32");
      const dropped = g.dropout(g.silu(x!), 0.4, () => g.uniform(clock, "here", [6, 5]));
      const gate = g.less(g.uniform(clock, "there", []), g.fill(t, [], 0.9));
      const loss = g.sum(g.mul(g.square(g.linear(dropped, w!)), gate));
      return { loss, dx: g.grad(loss, [x!])[0]! };
    },
    steps: ["stream", "fusedMap", "stream", "matmul", "fusedSum", "fusedMap", "matmul", "fusedMap"],
  },
  {
    name: "what two linear layers read in half precision",
    shapes: { x: [5, 8], b: [8], w: [3, 8], v: [2, 8] },
    build: ({ x, b, w, v }, t) => {
      t.precision = "f16";
      const h = g.add(x!, b!);
      const [y, z] = [g.linear(h, w!), g.linear(h, v!)];
      const [dx, dw] = g.grad(g.add(g.sum(g.square(y)), g.sum(z)), [x!, w!]);
      return { y, z, dx: dx!, dw: dw! };
    },
    steps: ["fusedMap", "matmul", "matmul", "fusedMap", "fusedMap", "matmul", "matmul", "matmul", "add"],
  },
  {
    name: "an odd number of halves",
    shapes: { x: [5, 7], b: [7], w: [2, 7] },
    build: ({ x, b, w }, t) => {
      t.precision = "f16";
      return { y: g.linear(g.mul(x!, b!), w!) };
    },
    steps: ["fusedMap", "matmul"],
  },
  {
    name: "a value that is also a result",
    shapes: { x: [6] },
    build: ({ x }) => {
      const e = g.exp(x!);
      return { e: g.reshape(e, [2, 3]), y: g.scale(e, 2) };
    },
    steps: ["exp", "affine"],
  },
  {
    name: "sums of products",
    shapes: { x: [9, 8], y: [9, 8], r: [9] },
    build: ({ x, y, r }) => ({
      gain: g.sum(g.mul(y!, g.mul(x!, g.reshape(r!, [9, 1]))), [0]),
      dots: g.sum(g.mul(x!, y!), [1]),
      norm: g.sum(g.square(x!)),
    }),
    steps: ["fusedSum", "fusedSum", "fusedSum"],
  },
  {
    name: "single elements that several steps read",
    shapes: { x: [5, 3], s: [] },
    build: ({ x, s }) => {
      const rate = g.div(g.exp(s!), g.shift(s!, 3));
      return { y: g.mul(x!, rate), z: g.sum(g.add(x!, rate)) };
    },
    steps: ["fusedMap", "fusedSum"],
  },
  {
    name: "views between maps",
    shapes: { x: [4, 6], b: [6], c: [4, 1] },
    build: ({ x, b, c }) => {
      const h = g.reshape(g.mul(g.add(x!, b!), c!), [2, 2, 6]);
      return { y: g.add(g.exp(h), g.reshape(x!, [2, 2, 6])) };
    },
    steps: ["fusedMap"],
  },
  {
    name: "a broadcast value, which is kept",
    shapes: { x: [5, 4], b: [4] },
    build: ({ x, b }) => ({ y: g.add(x!, g.exp(b!)) }),
    steps: ["exp", "add"],
  },
  {
    name: "a product between maps",
    shapes: { x: [5, 4], w: [3, 4] },
    build: ({ x, w }) => ({ y: g.relu(g.shift(g.linear(g.silu(g.scale(x!, 2)), w!), 0.1)) }),
    steps: ["fusedMap", "matmul", "fusedMap"],
  },
  {
    name: "the gradient of a mean of squares",
    shapes: { x: [5, 4], w: [4], y: [5, 4] },
    build: ({ x, w, y }) => {
      const loss = g.mean(g.square(g.sub(g.mul(x!, w!), y!)));
      return { loss, d: g.grad(loss, [w!])[0]! };
    },
    steps: ["fusedMap", "fusedSum", "affine", "fusedSum"],
  },
  {
    name: "more operands than a shader may bind",
    shapes: Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`x${i}`, [5]])),
    build: (xs) => ({ y: Object.values(xs).reduce(g.add) }),
    steps: ["fusedMap", "fusedMap"],
  },
  {
    name: "AdamW",
    shapes: { p: [64], pm: [64], pv: [64], d: [64], rate: [] },
    build: adam,
    steps: ["fusedUpdate", "fusedUpdate", "fusedUpdate"],
  },
  {
    name: "an update that adds to what is there",
    shapes: { p: [3, 4], x: [5, 4], y: [5, 3] },
    build: ({ p, x, y }) => ({ p: g.assign(p!, g.add(p!, g.matmul(y!, x!, "tn"))) }),
    steps: ["matmul", "fusedUpdate"],
  },
  {
    name: "an update whose old value is read before it",
    shapes: { p: [4], x: [4] },
    build: ({ p, x }) => {
      const before = g.mul(p!, x!);
      const after = g.assign(p!, g.scale(p!, 2));
      return { y: g.add(before, g.exp(after)) };
    },
    steps: ["mul", "fusedUpdate", "fusedMap"],
  },
  {
    name: "an update whose old value is read between",
    shapes: { p: [4], x: [4] },
    build: ({ p, x }) => {
      const doubled = g.scale(p!, 2);
      const y = g.sum(g.mul(p!, x!));
      return { y, p: g.assign(p!, doubled), z: g.exp(doubled) };
    },
    steps: ["affine", "fusedSum", "assign", "exp"],
  },
  {
    name: "an update that reads the parameter at other indices",
    shapes: { p: [4], x: [4, 4] },
    build: ({ p, x }) => ({ p: g.assign(p!, g.sum(g.mul(g.add(x!, p!), g.reshape(p!, [4, 1])), [0])) }),
    steps: ["fusedSum", "assign"],
  },
];
