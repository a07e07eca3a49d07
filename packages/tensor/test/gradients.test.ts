/** @file Every op's gradient against central differences in f64. */
import { describe, expect, it } from "vitest";
import * as g from "../src/index.ts";
import { noise } from "./noise.ts";

/** A function of inputs of the given shapes; the check is of ∂(Σ f · weights)/∂inputs. */
interface Case {
  readonly name: string;
  readonly shapes: readonly g.Shape[];
  readonly f: (inputs: readonly g.Tensor[], trace: g.Trace) => g.Tensor;
  /** Added to the inputs, which lie in (−1, 1). */
  readonly offset?: number;
}

const ids = (trace: g.Trace, values: readonly number[], shape: g.Shape = [values.length]): g.Tensor =>
  g.cast(
    trace.constant(`ids ${values.join()}`, shape, () => Float32Array.from(values)),
    "i32",
  );
const rows = (trace: g.Trace, shape: g.Shape): g.Tensor =>
  trace.constant(`table ${g.show(shape)}`, shape, () => Float32Array.from(noise(shape, 77)));

/** Step of the differences: h² and rounding/h are both below 1e-9. */
const H = 1e-5;

async function worstError({ shapes, f, offset = 0 }: Case): Promise<number> {
  const runtime = g.hostRuntime();
  const program = await runtime.compile(runtime.store(), (trace) => {
    const inputs = shapes.map((shape, i) => trace.input(`x${i}`, shape));
    const y = f(inputs, trace);
    const loss = g.sum(g.mul(y, rows(trace, y.shape)));
    const grads = g.grad(loss, inputs).map((d, i) => [`d${i}`, d ?? g.fill(trace, shapes[i]!, 0)] as const);
    return { loss, ...Object.fromEntries(grads) };
  });
  const values = shapes.map((shape, i) => noise(shape, i + 1).map((x) => x + offset));
  const at = async (): Promise<Readonly<Record<string, g.Values>>> =>
    program.run(Object.fromEntries(values.map((v, i) => [`x${i}`, v])));
  const exact = await at();
  let worst = 0;
  for (const [i, x] of values.entries()) {
    const got = exact[`d${i}`]!;
    const want = new Float64Array(x.length);
    for (let k = 0; k < x.length; k++) {
      const before = x[k]!;
      x[k] = before + H;
      const above = (await at())["loss"]![0]!;
      x[k] = before - H;
      want[k] = (above - (await at())["loss"]![0]!) / (2 * H);
      x[k] = before;
    }
    expect(got.length).toBe(x.length);
    const peak = Math.max(...want.map(Math.abs));
    want.forEach((w, k) => (worst = Math.max(worst, Math.abs(w - got[k]!) / (peak || 1))));
  }
  return worst;
}

function check(cases: readonly Case[]): void {
  for (const c of cases)
    it(`${c.name} of ${c.shapes.map(g.show).join(" ")} has the gradient that differences show`, async () => {
      expect(await worstError(c)).toBeLessThanOrEqual(1e-6);
    });
}

describe("elementwise ops", () => {
  const unary = {
    exp: g.exp,
    relu: g.relu,
    square: g.square,
    sigmoid: g.sigmoid,
    tanh: g.tanh,
    silu: g.silu,
    gelu: g.gelu,
    geluErf: g.geluErf,
    softplus: g.softplus,
    abs: g.abs,
  };
  for (const [name, f] of Object.entries(unary)) check([{ name, shapes: [[7]], f: ([a]) => f(a!) }]);
  check([
    { name: "log", shapes: [[7]], offset: 2, f: ([a]) => g.log(a!) },
    { name: "sqrt", shapes: [[7]], offset: 2, f: ([a]) => g.sqrt(a!) },
    { name: "scale and shift", shapes: [[7]], f: ([a]) => g.shift(g.scale(a!, -3), 2) },
    { name: "cast", shapes: [[7]], f: ([a]) => g.cast(g.scale(a!, 2), "f32") },
    { name: "gelu far out", shapes: [[7]], offset: 5, f: ([a]) => g.gelu(a!) },
    { name: "geluErf far out", shapes: [[7]], offset: -3, f: ([a]) => g.geluErf(a!) },
    { name: "softplus far out", shapes: [[7]], offset: -30, f: ([a]) => g.softplus(a!) },
    { name: "clamp", shapes: [[7]], f: ([a]) => g.square(g.clamp(a!, -0.5, 0.3)) },
    { name: "silu far out", shapes: [[7]], offset: -5, f: ([a]) => g.silu(a!) },
    {
      name: "where",
      shapes: [[5], [2, 5], [2, 1]],
      f: ([a, b, c], t) => g.where(g.less(rows(t, [2, 5]), g.fill(t, [], 0)), g.mul(a!, b!), c!),
    },
    { name: "a value used twice", shapes: [[5]], f: ([a]) => g.add(g.mul(a!, g.exp(a!)), a!) },
  ]);
  const binary = { add: g.add, sub: g.sub, mul: g.mul, div: g.div, maximum: g.maximum, minimum: g.minimum };
  const shapes: readonly (readonly [g.Shape, g.Shape])[] = [
    [[4], [4]],
    [[2, 3], [3]],
    [
      [2, 3],
      [2, 1],
    ],
    [[], [2, 3]],
    [
      [3, 1],
      [1, 4],
    ],
    [
      [2, 1, 3, 1],
      [1, 2, 1, 2],
    ],
    [[1, 1], [2]],
  ];
  for (const [name, f] of Object.entries(binary))
    check(shapes.map((s) => ({ name, shapes: s, offset: name === "div" ? 2 : 0, f: ([a, b]) => f(a!, b!) })));
});

describe("reductions", () => {
  for (const axes of [[0], [1], [2], [0, 1], [0, 2], [1, -1], [0, 1, 2], []])
    check([
      { name: `sum over [${axes.join()}]`, shapes: [[2, 3, 2]], f: ([a]) => g.square(g.sum(a!, axes)) },
      {
        name: `mean over [${axes.join()}]`,
        shapes: [[2, 3, 2]],
        f: ([a]) => g.square(g.mean(a!, axes, { keepAxes: true })),
      },
    ]);
  check([{ name: "sum of ones", shapes: [[1, 3, 1]], f: ([a]) => g.square(g.sum(a!, [0, 2])) }]);
});

describe("layout ops", () => {
  check([
    { name: "reshape", shapes: [[2, 6]], f: ([a]) => g.square(g.reshape(a!, [3, -1])) },
    { name: "slice of the middle", shapes: [[3, 5, 2]], f: ([a]) => g.square(g.slice(a!, 1, 1, 3)) },
    { name: "slice of the start", shapes: [[4, 2]], f: ([a]) => g.square(g.slice(a!, 0, 0, 1)) },
    { name: "slice of the end", shapes: [[2, 4]], f: ([a]) => g.square(g.slice(a!, -1, 2, 2)) },
    {
      name: "split",
      shapes: [[3, 6, 2]],
      f: ([a]) => {
        const [x, , z] = g.split(a!, 1, [2, 3, 1]);
        return g.mul(g.square(x!), z!);
      },
    },
    {
      name: "concat",
      shapes: [
        [2, 1, 2],
        [2, 3, 2],
        [2, 2, 2],
      ],
      f: (all) => g.square(g.concat(all, 1)),
    },
    { name: "transpose", shapes: [[2, 3, 4]], f: ([a]) => g.square(g.transpose(a!, [2, 0, 1])) },
    {
      name: "transpose of five axes",
      shapes: [[2, 1, 3, 2, 2]],
      f: ([a]) => g.square(g.transpose(a!, [4, 2, 0, 3, 1])),
    },
  ]);
});

describe("products", () => {
  check([
    {
      name: "matmul nn",
      shapes: [
        [3, 4],
        [4, 2],
      ],
      f: ([a, b]) => g.square(g.matmul(a!, b!, "nn")),
    },
    {
      name: "matmul nt",
      shapes: [
        [3, 4],
        [2, 4],
      ],
      f: ([a, b]) => g.square(g.matmul(a!, b!, "nt")),
    },
    {
      name: "matmul tn",
      shapes: [
        [4, 3],
        [4, 2],
      ],
      f: ([a, b]) => g.square(g.matmul(a!, b!, "tn")),
    },
    { name: "matmul with itself", shapes: [[3, 3]], f: ([a]) => g.matmul(a!, a!, "tn") },
    {
      name: "linear",
      shapes: [
        [2, 3, 4],
        [5, 4],
      ],
      f: ([x, w]) => g.square(g.linear(x!, w!)),
    },
    { name: "linear with a bias", shapes: [[2, 3, 4], [5, 4], [5]], f: ([x, w, b]) => g.square(g.linear(x!, w!, b)) },
    {
      name: "linear with weights for every row of the batch",
      shapes: [
        [2, 3, 4],
        [2, 5, 4],
        [2, 5],
      ],
      f: ([x, w, b]) => g.square(g.linear(x!, w!, b)),
    },
    ...(["nn", "nt", "tn"] as const).map((layout) => ({
      name: `matmul ${layout} side by side`,
      shapes: [
        [2, 3, 3],
        [2, 3, 3],
      ],
      f: ([a, b]: readonly g.Tensor[]) => g.square(g.matmul(a!, b!, layout)),
    })),
    { name: "linear of one row", shapes: [[4], [1, 4], [1]], f: ([x, w, b]) => g.linear(x!, w!, b) },
  ]);
});

describe("attention", () => {
  const [B, T, S, E] = [2, 3, 4, 2];
  const kinds = [
    { name: "attention", H: 2, G: 2, causal: false },
    { name: "causal attention", H: 2, G: 2, causal: true },
    { name: "grouped causal attention", H: 4, G: 2, causal: true },
  ];
  const masks = { "": null, masked: [1, 0, 1, 1, 0, 0, 1, 1], packed: [-1, 1, 1, 2, 0, 3, 4, 3] };
  for (const { name, H, G, causal } of kinds)
    for (const [mask, keys] of Object.entries(masks))
      for (const biasBatch of [0, 1, B])
        for (const p of [0, 0.4])
          check([
            {
              name: `${mask} ${name} with dropout ${p} and`,
              shapes: [[B, T, H, E], [B, S, G, E], [B, S, G, E], ...(biasBatch > 0 ? [[biasBatch, H, T, S]] : [])],
              f: ([q, k, v, bias], t) => {
                const seen = keys && t.constant("mask", [B, S], () => Float32Array.from(keys));
                const clock = t.constant("clock", [2], () => Float32Array.of(3, 7));
                const attrs = { causal, scale: 0.7, packed: mask === "packed", dropout: { p, clock, name: "weights" } };
                return g.attention(q!, k!, v!, seen, attrs, bias);
              },
            },
          ]);
  check([
    {
      name: "attention where a query sees no key",
      shapes: [
        [1, 2, 1, 2],
        [1, 2, 1, 2],
        [1, 2, 1, 2],
        [1, 1, 2, 2],
      ],
      f: ([q, k, v, bias], t) => {
        const mask = t.constant("mask", [1, 2], () => Float32Array.of(0, 1));
        return g.attention(q!, k!, v!, mask, { causal: true, scale: 1 }, bias);
      },
    },
  ]);
});

describe("norms and positions", () => {
  const eps = 1e-3;
  check([
    { name: "rmsNorm", shapes: [[2, 3, 5], [5]], f: ([x, w]) => g.rmsNorm(x!, w!, { eps }) },
    { name: "layerNorm", shapes: [[2, 3, 5], [5], [5]], f: ([x, w, b]) => g.layerNorm(x!, w!, b!, { eps }) },
    { name: "layerNorm of one row", shapes: [[5], [5], [5]], f: ([x, w, b]) => g.layerNorm(x!, w!, b!, { eps }) },
    {
      name: "rope",
      shapes: [[2, 3, 2, 4]],
      f: ([x], t) => g.rope(x!, ids(t, [0, 2, 5, 1, 1, 9], [2, 3]), rows(t, [6, 4])),
    },
    {
      name: "rope of a part of the head",
      shapes: [[2, 3, 1, 5]],
      f: ([x], t) => g.rope(x!, ids(t, [0, 2, 5], [1, 3]), rows(t, [6, 2])),
    },
  ]);
});

describe("tables, losses and noise", () => {
  check([
    {
      name: "gather",
      shapes: [[4, 3]],
      f: ([table], t) => g.square(g.gather(table!, ids(t, [3, 1, 3, 0, -1, 4], [2, 3]))),
    },
    {
      name: "gather of matrices",
      shapes: [[3, 2, 2]],
      f: ([table], t) => g.square(g.gather(table!, ids(t, [2, 0, 2, 5]))),
    },
    { name: "gather of numbers", shapes: [[4]], f: ([table], t) => g.square(g.gather(table!, ids(t, [3, 1, 3]))) },
    { name: "crossEntropy", shapes: [[4, 5]], f: ([x], t) => g.crossEntropy(x!, ids(t, [0, 4, 2, 2])) },
    {
      name: "crossEntropy with ignored rows",
      shapes: [[4, 5]],
      f: ([x], t) => g.crossEntropy(x!, ids(t, [0, g.IGNORE, 4, -1])),
    },
    {
      name: "linearCrossEntropy in chunks",
      shapes: [[5, 3], [4, 3], [4]],
      f: ([h, w, b], t) =>
        g.linearCrossEntropy(h!, ids(t, [0, 3, g.IGNORE, 1, 2]), {
          vocabulary: 4,
          head: (rows) => g.linear(rows, w!, b),
          chunk: 8,
        }),
    },
    {
      name: "dropout",
      shapes: [[4, 5]],
      f: ([x], t) => {
        const clock = t.constant("clock", [2], () => Float32Array.of(5, 9));
        return g.dropout(x!, 0.3, () => g.uniform(clock, "here", [4, 5]));
      },
    },
    { name: "a checkpointed block", shapes: [[2, 3]], f: ([x]) => g.checkpoint(x!, (h) => g.gelu(g.mul(h, g.exp(h)))) },
  ]);
});
