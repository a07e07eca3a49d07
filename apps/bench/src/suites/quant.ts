/** @file Suite `quant`: products with a matrix of codes beside the same products in f32, and the bits they read of it. */
import { encodingOf, type QuantConfig, quantize } from "@graftml/quant";
import {
  assign,
  codeLengths,
  dequantize,
  type DequantizeAttrs,
  deviceRuntime,
  type Encoding,
  fill,
  matmul,
  requestDevice,
  type Runtime,
  type Shape,
  type Store,
  type Tensor,
  type Trace,
} from "@graftml/tensor";
import { alternate, type Contender } from "../measure.ts";
import type { Report, Row } from "../report.ts";

const ROUNDS = 9;
/** Products per timed run, so that one takes at least some 80 ms. */
const repeats = (flops: number): number => Math.max(1, Math.ceil(3e9 / flops));

/** y [M, N] of x [M, K] and W [N, K] (`nt`), or dx of dy and W [K, N] (`nn`). */
interface Case {
  readonly what: string;
  readonly layout: "nt" | "nn";
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

const decoding = [1, 8].map((M): Case => ({ what: "forward", layout: "nt", M, N: 1024, K: 1024 }));
const training = (
  [
    [256, 1024, 1024],
    [1024, 1024, 256],
    [1024, 256, 1024],
    [1024, 512, 512],
  ] as const
).flatMap(([M, N, K]): Case[] => [
  { what: "forward", layout: "nt", M, N, K },
  { what: "gradient", layout: "nn", M, N, K },
]);

const forms: Readonly<Record<string, QuantConfig>> = {
  nf4: { type: "nf4", block: 64, double_quant: false },
  "nf4, double": { type: "nf4", block: 64, double_quant: true },
  int8: { type: "int8", block: "row", double_quant: false },
};

const random = (n: number): Float32Array => Float32Array.from({ length: n }, () => Math.random() - 0.5);

/** The matrix in a store, and how a trace reads it. */
function matrix(store: Store, shape: readonly [number, number], encoding: Encoding | null): (trace: Trace) => Tensor {
  if (encoding === null) {
    store.declare("b", { shape, dtype: "f32", values: () => random(shape[0] * shape[1]) });
    return (trace) => trace.param("b", shape);
  }
  const attrs: DequantizeAttrs = { shape, encoding };
  const quantized = quantize(random(shape[0] * shape[1]), attrs, "b");
  const scaleType = encoding.nested === null ? "f32" : "u32";
  store.declare("codes", { shape: [quantized.codes.length], dtype: "u32", values: () => quantized.codes });
  store.declare("scales", { shape: [quantized.scales.length], dtype: scaleType, values: () => quantized.scales });
  if (encoding.nested !== null)
    store.declare("nested", { shape: [quantized.nested.length], dtype: "f32", values: () => quantized.nested });
  return (trace) =>
    dequantize(
      {
        codes: trace.param("codes", [quantized.codes.length], "u32"),
        scales: trace.param("scales", [quantized.scales.length], scaleType),
        ...(encoding.nested !== null && { nested: trace.param("nested", [quantized.nested.length]) }),
      },
      attrs,
    );
}

/** A program of several products of one shape; each goes into a parameter of its own, so none is left out. */
async function products(runtime: Runtime, c: Case, name: string, encoding: Encoding | null): Promise<Contender> {
  const { M, N, K, layout } = c;
  const times = repeats(2 * M * N * K);
  const store = runtime.store();
  const a: Shape = [M, K];
  const read = matrix(store, layout === "nt" ? [N, K] : [K, N], encoding);
  for (let i = 0; i < times; i++) store.declare(`a${i}`, { shape: a, dtype: "f32", values: () => random(M * K) });
  for (let i = 0; i < times; i++) store.declare(`y${i}`, { shape: [M, N], dtype: "f32", kind: "activations" });
  const program = await runtime.compile(store, (trace) => {
    for (let i = 0; i < times; i++)
      assign(trace.param(`y${i}`, [M, N]), matmul(trace.param(`a${i}`, a), read(trace), layout));
    return { done: fill(trace, [1], 0) };
  });
  return {
    name,
    run: async () => {
      await program.run({});
    },
  };
}

/** Bits that a product reads of one weight, all that codes and scales come to. */
function bitsRead({ layout, N, K }: Case, encoding: Encoding): number {
  const shape = layout === "nt" ? ([N, K] as const) : ([K, N] as const);
  const { codes, scales, nested } = codeLengths({ shape, encoding });
  return (32 * (codes + scales + nested)) / (N * K);
}

/** Time of every case in f32, and of each form how many times that. */
export async function quant(): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const rows: Row[] = [];
  for (const c of [...decoding, ...training]) {
    const contenders = [await products(runtime, c, "f32", null)];
    for (const [name, config] of Object.entries(forms))
      contenders.push(await products(runtime, c, name, encodingOf(config)));
    const [plain, ...coded] = await alternate(contenders, { rounds: ROUNDS });
    if (plain === undefined) continue;
    const times = repeats(2 * c.M * c.N * c.K);
    rows.push({
      name: `${c.what} ${c.M} × ${c.N} × ${c.K}`,
      figures: { "f32, ms": plain.median / times, "best, ms": plain.best / times },
    });
    for (const { name, median, best } of coded) {
      const config = forms[name];
      rows.push({
        name: `  ${name}`,
        figures: {
          "× f32, median": median / plain.median,
          "× f32, best": best / plain.best,
          ...(config && { "bits read a weight": bitsRead(c, encodingOf(config)) }),
        },
      });
    }
  }
  runtime.dispose();
  return { suite: "quant", rows };
}
