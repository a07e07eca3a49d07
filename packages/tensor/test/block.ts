/** @file A language model of one Llama block, trained by gradient descent: the ops of a real step, small enough for any test. */
import {
  add,
  assign,
  attention,
  crossEntropy,
  gather,
  grad,
  linear,
  mean,
  mul,
  type Outputs,
  reshape,
  rmsNorm,
  rope,
  type Runtime,
  scale,
  type Shape,
  silu,
  sizeOf,
  type Source,
  type Store,
  sub,
  type Tensor,
  type Trace,
} from "../src/index.ts";
import { noise } from "./noise.ts";

const [B, T, D, H, G, E, F, V] = [2, 21, 32, 4, 2, 8, 44, 53];
const WEIGHTS: Readonly<Record<string, Shape>> = {
  embed: [V, D],
  "attn.norm": [D],
  q: [H * E, D],
  k: [G * E, D],
  v: [G * E, D],
  o: [D, H * E],
  "mlp.norm": [D],
  gate: [F, D],
  up: [F, D],
  down: [D, F],
  "head.norm": [D],
};
const RATE = 0.1;

/** Declares the weights: norms near 1, the rest small. */
export function declareBlock(store: Store): void {
  Object.entries(WEIGHTS).forEach(([name, shape], i) => {
    const values = (): Source => noise(shape, i + 1).map((x) => (shape.length === 1 ? 1 + 0.1 * x : 0.3 * x));
    store.declare(name, { shape, dtype: "f32", values });
  });
}

/** Cosines and sines of the rotary angles, [T, E]. */
const angles = (t: Trace): Tensor =>
  t.constant("angles", [T, E], () =>
    Float32Array.from({ length: T * E }, (_, i) => {
      const angle = Math.floor(i / E) / 100 ** ((2 * (i % (E / 2))) / E);
      return i % E < E / 2 ? Math.cos(angle) : Math.sin(angle);
    }),
  );

/** One step: w ← w − rate · ∂loss/∂w for every weight. Returns the loss. */
export function blockStep(t: Trace): Outputs {
  const w = (name: string): Tensor => t.param(name, WEIGHTS[name]!);
  const norm = (x: Tensor, name: string): Tensor => rmsNorm(x, w(name), { eps: 1e-5 });
  const [ids, labels] = [t.input("ids", [B, T], "i32"), t.input("labels", [B * T], "i32")];
  const positions = t.input("positions", [1, T], "i32");
  const heads = (x: Tensor, name: string, n: number): Tensor => reshape(linear(x, w(name)), [B, T, n, E]);
  const turned = (x: Tensor): Tensor => rope(x, positions, angles(t));

  const x = gather(w("embed"), ids); // [B, T, D]
  const a = norm(x, "attn.norm");
  const [q, k, v] = [turned(heads(a, "q", H)), turned(heads(a, "k", G)), heads(a, "v", G)];
  const seen = attention(q, k, v, null, { causal: true, scale: 1 / Math.sqrt(E) }); // [B, T, H, E]
  const y = add(x, linear(reshape(seen, [B, T, H * E]), w("o")));
  const b = norm(y, "mlp.norm");
  const z = add(y, linear(mul(silu(linear(b, w("gate"))), linear(b, w("up"))), w("down")));
  const logits = linear(norm(z, "head.norm"), w("embed")); // [B, T, V]
  const loss = mean(crossEntropy(reshape(logits, [B * T, V]), labels));

  const names = Object.keys(WEIGHTS);
  grad(loss, names.map(w)).forEach((g, i) => {
    assign(w(names[i]!), sub(w(names[i]!), scale(g!, RATE)));
  });
  return { loss };
}

/** Inputs of step i: a sequence that repeats itself, so that there is something to learn. */
export function blockBatch(i: number): Record<string, Source> {
  const token = (b: number, t: number): number => (7 * b + i + (t % 5) * 11) % V;
  const at = (shift: number): Int32Array =>
    Int32Array.from({ length: sizeOf([B, T]) }, (_, n) => token(Math.floor(n / T), (n % T) + shift));
  return { ids: at(0), labels: at(1), positions: Int32Array.from({ length: T }, (_, t) => t) };
}

/** Trains from the start and returns the loss before every step. */
export async function trainBlock(runtime: Runtime, steps: number): Promise<number[]> {
  const store = runtime.store();
  declareBlock(store);
  const program = await runtime.compile(store, blockStep);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push((await program.run(blockBatch(i)))["loss"]![0]!);
  program.dispose();
  return losses;
}
