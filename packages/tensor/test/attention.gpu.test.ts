/** @file Attention kernels, forward and backward, against their f64 references, on shapes that fit nothing. */
import { describe, expect, it } from "vitest";
import { attention, type DType, grad, type Node, sizeOf, sum, type Target, Trace } from "../src/index.ts";
import { sideLayout } from "../src/ops/attention-pairs.ts";
import { type Given, kernelError, noise, runKernels } from "./device.ts";
import { device, families } from "./kernel-cases.ts";

const OPS = ["attention", "attentionGradQ", "attentionGradKV"] as const;
const ALL = [...OPS, "attentionSide", "attentionGradBias"] as const;

interface Shapes {
  readonly B?: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly G: number;
  readonly E: number;
  readonly causal?: boolean;
  readonly mask?: DType;
  readonly packed?: boolean;
  readonly bias?: "shared" | "each";
  readonly drop?: number;
  readonly scale?: number;
}

const nameOf = ({ B = 1, T, S, H, G, E, causal = false, mask, packed = false, bias, drop }: Shapes): string =>
  [
    `B ${B}, T ${T}, S ${S}, H ${H}, G ${G}, E ${E}`,
    causal ? ["causal"] : [],
    mask === undefined ? [] : [`${mask} mask`],
    packed ? ["packed"] : [],
    bias === undefined ? [] : [`bias ${bias}`],
    drop === undefined ? [] : [`drop ${drop}`],
  ]
    .flat()
    .join(", ");

/** The node of one of the ops; undefined for the gradient of a bias where there is none. */
function findNode(op: string, shapes: Shapes): Node | undefined {
  const { B = 1, T, S, H, G, E, causal = false, packed, mask, bias, drop, scale = 1 / Math.sqrt(E) } = shapes;
  const t = new Trace();
  const [q, k, v] = [t.input("q", [B, T, H, E]), t.input("k", [B, S, G, E]), t.input("v", [B, S, G, E])];
  const seen = mask === undefined ? null : t.input("mask", [B, S], mask);
  const added = bias === undefined ? null : t.input("bias", [bias === "shared" ? 1 : B, H, T, S]);
  const dropout = drop === undefined ? undefined : { p: drop, clock: t.input("clock", [2], "u32"), name: "weights" };
  const out = attention(q, k, v, seen, { causal, packed, scale, dropout }, added);
  grad(sum(out), added === null ? [q, k, v] : [q, k, v, added]);
  return t.nodes.findLast((node) => node.op.name === op);
}

const nodeOf = (op: string, shapes: Shapes): Node => findNode(op, shapes)!;

/** Upper and lower half of the state of a stream. */
const STATE = [54321, 12345] as const;

/** Hides every key of the first row of the batch, if there are several, and about half of the others; or numbers texts. */
function maskOf({ B = 1, S, packed = false }: Shapes): Float64Array {
  const numbers = [0, -1, 1, 1, 2, 3];
  return noise([B, S], 4).map((x, at) =>
    at < S && B > 1 ? 0 : packed ? numbers[Math.floor(((x + 1) / 2) * numbers.length)]! : x > 0 ? 1 : 0,
  );
}

/** Noise, and what no noise will do for: masks, and the parts of the side operand. */
const given = ({ inputs }: Node, shapes: Shapes): Given[] =>
  inputs.map(({ shape, dtype, node: { op: made, attrs } }, i) => {
    const values = noise(shape, i + 1);
    const name = (attrs as { readonly name?: string }).name;
    const filled = (): Float64Array => {
      if (name === "mask") return maskOf(shapes);
      if (made.name === "streamHalves") return Float64Array.from(STATE);
      if (made.name !== "attentionSide") return values;
      const { B = 1, T, S, H } = shapes;
      const layout = sideLayout({ B, T, S, H }, [shapes.mask ? "mask" : [], shapes.drop ? "noise" : []].flat() as []);
      if (layout.noise > layout.mask) values.set(maskOf(shapes), layout.mask);
      if (layout.length > layout.noise) values.set(STATE, layout.noise);
      return values;
    };
    return { shape, dtype, values: filled() };
  });

function errorOf(op: string, shapes: Shapes, target: Target): Promise<number> {
  const node = nodeOf(op, shapes);
  return kernelError(device, target, node.op, given(node, shapes), node.attrs);
}

function run(op: string, shapes: Shapes, target: Target): Promise<Float64Array[]> {
  const node = nodeOf(op, shapes);
  return runKernels(device, target, node.op, given(node, shapes), node.attrs);
}

describe.each(families)("attention kernels on %s", (family) => {
  const cases: readonly Shapes[] = [
    { T: 1, S: 1, H: 1, G: 1, E: 64, causal: true },
    { T: 63, S: 63, H: 2, G: 1, E: 64, causal: true },
    { T: 64, S: 64, H: 2, G: 2, E: 64, causal: true },
    { T: 65, S: 65, H: 3, G: 1, E: 64, causal: true },
    { T: 5, S: 70, H: 2, G: 2, E: 64 },
    { T: 3, S: 2049, H: 2, G: 1, E: 8 },
    { B: 2, T: 1, S: 77, H: 4, G: 2, E: 8, mask: "f32" },
    { B: 9, T: 20, S: 20, H: 8, G: 4, E: 8, mask: "f32" },
    { B: 2, T: 7, S: 33, H: 4, G: 2, E: 12, mask: "f32" },
    { B: 2, T: 37, S: 70, H: 4, G: 2, E: 16, causal: true, mask: "f32" },
    { T: 9, S: 41, H: 2, G: 1, E: 80, causal: true },
    { B: 2, T: 7, S: 33, H: 4, G: 2, E: 5 },
    { B: 2, T: 20, S: 33, H: 4, G: 2, E: 8, causal: true, mask: "f32", packed: true },
    { B: 2, T: 37, S: 37, H: 2, G: 2, E: 16, mask: "i32", packed: true },
    { B: 3, T: 37, S: 70, H: 4, G: 2, E: 8, bias: "shared" },
    { B: 2, T: 35, S: 41, H: 2, G: 1, E: 12, bias: "each", causal: true },
    { B: 2, T: 37, S: 70, H: 4, G: 2, E: 16, drop: 0.3 },
    { B: 2, T: 33, S: 33, H: 2, G: 1, E: 64, drop: 0.1, causal: true },
    { B: 3, T: 37, S: 70, H: 4, G: 2, E: 8, causal: true, mask: "f32", packed: true, bias: "shared", drop: 0.2 },
    { B: 2, T: 7, S: 33, H: 3, G: 3, E: 5, mask: "i32", bias: "each", drop: 0.5 },
    { B: 2, T: 5, S: 9, H: 2, G: 1, E: 136, mask: "f32", bias: "shared", drop: 0.5 },
  ];
  for (const shapes of cases)
    it.each(ALL.filter((op) => findNode(op, shapes) !== undefined))(
      `compute %s as its reference does: ${nameOf(shapes)}`,
      async (op) => {
        expect(await errorOf(op, shapes, device[family])).toBeLessThanOrEqual(1e-5);
      },
    );

  it("drop exactly the weights that the reference drops", async () => {
    const [B, T, S, H] = [2, 19, 32, 2];
    const node = nodeOf("attention", { B, T, S, H, G: 1, E: S, drop: 0.4 });
    // Equal scores, and values that are the rows of the identity, so that the result is the weights.
    const inputs = given(node, { B, T, S, H, G: 1, E: S, drop: 0.4 });
    inputs[0]!.values.fill(0);
    inputs[2]!.values.forEach((_, i, v) => (v[i] = Math.floor(i / S) % S === i % S ? 1 : 0));
    const spec = { inputs: node.inputs, outputs: node.outputs, attrs: node.attrs };
    const [want] = node.op.reference(
      inputs.map((operand) => operand.values),
      spec,
    );
    const [got] = await runKernels(device, device[family], node.op, inputs, node.attrs);
    expect(got!.map((w) => (w === 0 ? 0 : 1))).toEqual(want!.map((w) => (w === 0 ? 0 : 1)));
    expect(want!.some((w) => w === 0)).toBe(true);
  });

  it("read a mask of integers", async () => {
    const shapes: Shapes = { B: 2, T: 7, S: 33, H: 4, G: 2, E: 8, mask: "i32" };
    expect(await errorOf("attention", shapes, device[family])).toBeLessThanOrEqual(1e-5);
  });

  it.each(OPS)("compute %s where one axis does not hold the workgroups", async (op) => {
    const shapes: Shapes = { B: 3, T: 20, S: 20, H: 8, G: 4, E: 8, mask: "f32" };
    expect(await errorOf(op, shapes, { ...device[family], maxWorkgroups: 5 })).toBeLessThanOrEqual(1e-5);
  });

  it("leave a query that sees no key at zero, and its gradients too", async () => {
    const shapes: Shapes = { B: 2, T: 20, S: 20, H: 8, G: 4, E: 8, mask: "f32" };
    for (const op of OPS)
      for (const values of await run(op, shapes, device[family]))
        expect(values.subarray(0, values.length / 2).every((x) => x === 0)).toBe(true);
  });

  it("stay finite where the exponential of a score would overflow", async () => {
    const shapes: Shapes = { T: 63, S: 63, H: 2, G: 1, E: 64, causal: true, scale: 20 };
    // Scores of ±200 carry rounding errors that the exponential makes larger.
    expect(await errorOf("attention", shapes, device[family])).toBeLessThanOrEqual(1e-4);
  });

  it("sum the gradients of k and v to the same bits every time", async () => {
    const shapes: Shapes = { B: 9, T: 20, S: 20, H: 8, G: 4, E: 8, mask: "f32" };
    const first = await run("attentionGradKV", shapes, device[family]);
    expect(await run("attentionGradKV", shapes, device[family])).toEqual(first);
  });

  it("have one text for all lengths, batches and numbers of heads", () => {
    const textOf = (op: string, shapes: Shapes): string | undefined => {
      const {
        inputs,
        outputs,
        attrs,
        op: { kernel },
      } = nodeOf(op, shapes);
      return kernel({ inputs, outputs, attrs }, device[family]).dispatches[0]?.kernel.code;
    };
    for (const op of OPS)
      expect(textOf(op, { T: 63, S: 63, H: 2, G: 1, E: 64, causal: true })).toBe(
        textOf(op, { B: 7, T: 128, S: 500, H: 9, G: 3, E: 64, scale: 3 }),
      );
  });
});

describe("attention kernels on lanes", () => {
  it.each(OPS)("compute %s with subgroups of four", async (op) => {
    const shapes: Shapes = { T: 13, S: 29, H: 2, G: 1, E: 8, causal: true };
    expect(await errorOf(op, shapes, { ...device.lanes, subgroup: 4 })).toBeLessThanOrEqual(1e-5);
  });

  it("leave heads wider than their registers to tiles", async () => {
    const shapes: Shapes = { T: 3, S: 40, H: 1, G: 1, E: 136 };
    expect(await errorOf("attention", shapes, device.lanes)).toBeLessThanOrEqual(1e-5);
  });
});

describe("attention's cost", () => {
  it("counts the pairs that causal attention sees, and every operand once", () => {
    const node = nodeOf("attention", { B: 2, T: 4, S: 6, H: 3, G: 1, E: 8, causal: true });
    const [dispatch] = node.op.kernel(
      { inputs: node.inputs, outputs: node.outputs, attrs: node.attrs },
      device.lanes,
    ).dispatches;
    // Query t of 4 sees t + 3 of 6 keys: 18 pairs. A pair takes two products of 2·E operations.
    const floats = [...node.inputs, ...node.outputs].reduce((n, { shape }) => n + sizeOf(shape), 0);
    expect(dispatch?.cost).toEqual({ flops: 2 * 3 * 18 * 4 * 8, bytes: 4 * floats });
  });
});
