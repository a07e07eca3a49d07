/** @file Every kernel's text compiles, for every target, by Dawn's front end alone: types, uniformity, limits. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "webgpu";
import { type Kernel, leaf, type Target, Trace } from "../src/index.ts";
import * as g from "../src/index.ts";
import { fuse, type Step } from "../src/trace/fuse.ts";

// A device of the null backend compiles shaders and makes pipelines, and runs nothing. The instance must stay alive.
const instance = create(["backend=null"]);
let device: GPUDevice;
beforeAll(async () => {
  const adapter = await instance.requestAdapter();
  if (adapter === null) throw new Error("the null backend has no adapter");
  device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
});
afterAll(() => device.destroy());

const limits = { maxBinding: 2 ** 27, maxWorkgroups: 65535 };
const targets: Readonly<Record<string, Target>> = {
  "lanes of 4": { family: "lanes", subgroup: 4, ...limits },
  "lanes of 8": { family: "lanes", subgroup: 8, ...limits },
  "lanes of 16": { family: "lanes", subgroup: 16, ...limits },
  tiles: { family: "tiles", subgroup: 0, ...limits },
  "tiles with subgroups": { family: "tiles", subgroup: 32, ...limits },
};

/** Sizes that fit vectors and sizes that do not; few rows and many. */
const sizes: readonly (readonly [rows: number, width: number])[] = [
  [2, 64],
  [3, 7],
  [80, 256],
  [81, 1021],
];

const programs: Readonly<Record<string, (t: Trace, rows: number, width: number) => g.Outputs>> = {
  "elementwise ops": (t, rows, width) => {
    const [x, y] = [t.input("x", [rows, width]), t.input("y", [rows, width])];
    const unary = [g.exp, g.log, g.sqrt, g.abs, g.sigmoid, g.tanh, g.silu, g.gelu, g.geluErf, g.softplus, g.relu];
    const chains = unary.map((f) => f(g.mul(x, y)));
    const loss = g.sum(chains.reduce(g.add));
    const half = g.cast(t.input("h", [width], "f16"), "f32");
    const dropped = g.dropout(x, 0.5, () => g.uniform(t.input("clock", [2], "u32"), "here", [rows, width]));
    return { loss, ...byName("d", g.grad(loss, [x, y])), half: g.sum(g.div(x, half)), dropped: g.sum(dropped, [1]) };
  },
  norms: (t, rows, width) => {
    const [x, w, b] = [t.input("x", [rows, width]), t.input("w", [width]), t.input("b", [width])];
    const loss = g.sum(g.add(g.rmsNorm(x, w, { eps: 1e-5 }), g.layerNorm(x, w, b, { eps: 1e-5 })));
    return { loss, ...byName("d", g.grad(loss, [x, w, b])) };
  },
  copies: (t, rows, width) => {
    const x = t.input("x", [rows, width, 2]);
    const parts = g.concat([g.slice(x, 1, 1, 3), g.slice(x, 1, 0, 4)], 1);
    const halves = g.slice(t.input("h", [rows, 2 * width], "f16"), 1, 2, 4);
    const cache = g.updateRows(
      t.param("cache", [2, 9, width]),
      t.input("rows", [2, 3, width]),
      t.input("at", [2], "i32"),
    );
    const copied = g.assign(t.param("copy", [rows, width, 2]), x);
    return { parts, halves, cache, copied, turned: g.transpose(x, [1, 2, 0]) };
  },
  updates: (t, rows, width) => {
    const x = t.input("x", [rows, width]);
    const [w, half] = [t.param("w", [24, width]), t.param("half", [24, width], "f16")];
    const [down, up] = [t.param("down", [8, width]), t.param("up", [24, 8])];
    const y = g.add(g.linear(x, w, t.param("b", [24])), g.linear(g.linear(x, down), up));
    const loss = g.sum(g.mul(y, g.linear(x, half)));
    return { loss, ...byName("d", g.grad(loss, [x, w, down, up])) };
  },
  tables: (t, rows, width) => {
    const [table, ids] = [t.param("table", [50, width]), t.input("ids", [rows], "i32")];
    const h = g.add(g.gather(table, ids), g.gather(t.param("half", [50, width], "f16"), ids));
    const loss = g.sum(g.crossEntropy(h, ids));
    return { loss, ...byName("d", g.grad(loss, [table])) };
  },
  products: (t, rows, width) => {
    const [x, w, b] = [t.input("x", [rows, width]), t.input("w", [rows + 1, width]), t.input("b", [rows + 1])];
    const half = g.linear(x, t.param("half", [rows + 1, width], "f16"), t.param("bias", [rows + 1], "f16"));
    const narrow = g.linear(g.linear(x, t.input("down", [5, width])), t.input("up", [width, 5]));
    const each = g.linear(
      t.input("rows", [3, rows, width]),
      t.input("weights", [3, 5, width]),
      t.input("biases", [3, 5]),
    );
    const sums = [g.linear(x, w, b), half, narrow, each].map((y) => g.sum(y));
    const loss = sums.reduce(g.add);
    return { loss, ...byName("d", g.grad(loss, [x, w, b, t.input("weights", [3, 5, width])])) };
  },
  scores: (t, rows, width) => {
    const heads = (name: string, H: number): g.Tensor => t.input(name, [1, rows, H, width]);
    const [q, k, v] = [heads("q", 4), heads("k", 2), heads("v", 2)];
    const [mask, bias] = [t.input("mask", [1, rows]), t.input("bias", [1, 4, rows, rows])];
    const dropout = { p: 0.1, clock: t.input("clock", [2], "u32"), name: "weights" };
    const plain = g.attention(q, k, v, null, { causal: true, scale: 0.5 });
    const masked = g.attention(q, k, v, mask, { causal: false, scale: 0.5 });
    const biased = g.attention(q, k, v, null, { causal: false, scale: 0.5 }, bias);
    const whole = g.attention(q, k, v, mask, { causal: true, scale: 0.5, packed: true, dropout }, bias);
    const loss = g.sum([plain, masked, biased, whole].reduce(g.add));
    return { loss, ...byName("d", g.grad(loss, [q, k, v, bias])) };
  },
  rotations: (t, rows, width) => {
    const E = 4 * width;
    const x = t.input("x", [1, rows, 2, E]);
    const loss = g.sum(g.rope(x, t.input("positions", [1, rows], "i32"), t.input("table", [99, 2 * width])));
    return { loss, ...byName("d", g.grad(loss, [x])) };
  },
};

const byName = (prefix: string, tensors: readonly (g.Tensor | null)[]): g.Outputs =>
  Object.fromEntries(tensors.flatMap((t, i) => (t === null ? [] : [[`${prefix}${i}`, t]])));

/** Storage buffers that every WebGPU device binds to one shader. */
const MOST_BUFFERS = 8;

/** What a program dispatches, plain and fused. */
function dispatchesOf(build: (t: Trace) => g.Outputs, target: Target): readonly g.Dispatch[] {
  const trace = new Trace();
  const outputs = Object.values(build(trace));
  const nodes = g.reachable(outputs);
  const steps: readonly Step[] = [...nodes, ...fuse(nodes, outputs)].filter((s) => s.op !== leaf);
  return steps.flatMap(
    ({ op, inputs, outputs: made, attrs }) => op.kernel({ inputs, outputs: made, attrs }, target).dispatches,
  );
}

/** The distinct kernels among them. */
const kernelsOf = (build: (t: Trace) => g.Outputs, target: Target): ReadonlyMap<string, Kernel> =>
  new Map(dispatchesOf(build, target).map(({ kernel }) => [kernel.code, kernel]));

describe("shader texts", () => {
  for (const [name, build] of Object.entries(programs))
    it.each(Object.keys(targets))(`of ${name} compile for %s`, async (target) => {
      const texts = new Map<string, Kernel>();
      for (const [rows, width] of sizes)
        for (const [code, kernel] of kernelsOf((t) => build(t, rows, width), targets[target]!)) texts.set(code, kernel);
      expect(texts.size).toBeGreaterThan(0);
      for (const [code, { label }] of texts) {
        device.pushErrorScope("validation");
        const module = device.createShaderModule({ code, label });
        device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
        const error = await device.popErrorScope();
        expect(error === null ? "" : `${error.message}\n${code}`).toBe("");
      }
    });

  it.each(Object.keys(targets))("bind no more storage buffers than every device allows, for %s", (target) => {
    for (const [name, build] of Object.entries(programs))
      for (const [rows, width] of sizes)
        for (const { kernel, operands } of dispatchesOf((t) => build(t, rows, width), targets[target]!))
          expect([name, kernel.label, operands.length <= MOST_BUFFERS]).toEqual([name, kernel.label, true]);
  });

  it("are the same for shapes of one kind, so that pipelines are shared", () => {
    // Products choose among kernels by shape, and attention has a text for each width of its heads.
    const byShape = ["products", "updates", "scores"];
    for (const [name, build] of Object.entries(programs).filter(([name]) => !byShape.includes(name))) {
      const texts = (rows: number, width: number): string[] =>
        [...kernelsOf((t) => build(t, rows, width), targets["lanes of 8"]!).keys()].sort();
      expect([name, texts(80, 256)]).toEqual([name, texts(96, 512)]);
    }
  });
});
