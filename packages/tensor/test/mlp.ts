/** @file A small classifier trained with AdamW written in ops: enough of a training step to exercise a runtime. */
import {
  BUCKET_BLOCK,
  add,
  assign,
  crossEntropy,
  div,
  gelu,
  grad,
  linear,
  mean,
  mul,
  type Outputs,
  type Runtime,
  scale,
  shift,
  sizeOf,
  type Source,
  sqrt,
  square,
  type Store,
  sub,
  sum,
  type Trace,
  type Values,
} from "../src/index.ts";
import { noise } from "./noise.ts";

const [ROWS, IN, HIDDEN, CLASSES] = [24, 20, 36, 7];
const WEIGHTS = {
  "up.weight": [HIDDEN, IN],
  "up.bias": [HIDDEN],
  "down.weight": [CLASSES, HIDDEN],
  "down.bias": [CLASSES],
} as const;
const NAMES = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[];
const [BETA1, BETA2, RATE, DECAY] = [0.9, 0.999, 0.01, 0.1];

/** Declares weights, gradients and moments, each a group of its own. */
export function declareMlp(store: Store): void {
  const members = (prefix: string, values: (size: number, i: number) => { values?: () => Source }) =>
    NAMES.map((name, i) => ({ name: prefix + name, shape: WEIGHTS[name], ...values(sizeOf(WEIGHTS[name]), i) }));
  store.group(
    "weights",
    members("", (size, i) => ({ values: () => noise([size], i + 1).map((x) => 0.3 * x) })),
    "trainable",
  );
  for (const [prefix, kind] of [
    ["gradient.", "gradients"],
    ["m.", "optimizer"],
    ["v.", "optimizer"],
  ] as const)
    store.group(
      prefix,
      members(prefix, () => ({})),
      kind,
    );
}

/** One step: loss, gradients into their bucket, AdamW on the buckets. Returns the loss and the gradient's norm. */
export function mlpStep(t: Trace): Outputs {
  const [w1, b1, w2, b2] = NAMES.map((name) => t.param(name, WEIGHTS[name])) as [never, never, never, never];
  const logits = linear(gelu(linear(t.input("x", [ROWS, IN]), w1, b1)), w2, b2);
  const loss = mean(crossEntropy(logits, t.input("labels", [ROWS], "i32")));
  grad(loss, [w1, b1, w2, b2]).forEach((g, i) => {
    const name = NAMES[i]!;
    assign(t.param(`gradient.${name}`, WEIGHTS[name]), g!);
  });
  const size = NAMES.reduce((n, name) => n + Math.ceil(sizeOf(WEIGHTS[name]) / BUCKET_BLOCK) * BUCKET_BLOCK, 0);
  const bucket = (name: string) => t.param(`${name}#0`, [size]);
  const g = bucket("gradient.");
  const [m, v, w] = [bucket("m."), bucket("v."), bucket("weights")];
  const newM = add(scale(m, BETA1), scale(g, 1 - BETA1));
  const newV = add(scale(v, BETA2), scale(square(g), 1 - BETA2));
  assign(m, newM);
  assign(v, newV);
  const [c1, c2] = [t.input("correction1", []), t.input("correction2", [])];
  const update = div(mul(newM, c1), shift(sqrt(mul(newV, c2)), 1e-8));
  assign(w, sub(scale(w, 1 - RATE * DECAY), scale(update, RATE)));
  return { loss, norm: sqrt(sum(square(g))) };
}

/** Inputs of step i, counted from 0. */
export function mlpBatch(i: number): Record<string, Source> {
  return {
    x: noise([ROWS, IN], 100 + i),
    labels: Int32Array.from(noise([ROWS], 200 + i), (x) => Math.floor((x + 1) * 0.5 * CLASSES)),
    correction1: [1 / (1 - BETA1 ** (i + 1))],
    correction2: [1 / (1 - BETA2 ** (i + 1))],
  };
}

/** Trains from the start and returns every loss and norm, and the weights at the end. */
export async function trainMlp(
  runtime: Runtime,
  steps: number,
): Promise<{ losses: number[]; norms: number[]; weights: Values }> {
  const store = runtime.store();
  declareMlp(store);
  const program = await runtime.compile(store, mlpStep);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let i = 0; i < steps; i++) {
    const { loss, norm } = await program.run(mlpBatch(i));
    losses.push(loss![0]!);
    norms.push(norm![0]!);
  }
  return { losses, norms, weights: await store.read("weights#0") };
}
