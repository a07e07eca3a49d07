/** @file A model of two matrices and a method with noise: the least that training can be tried on. */
import {
  adapt,
  type AdaptOptions,
  type Adapter,
  type Base,
  declareAdapter,
  declareBase,
  defineMethod,
  kaimingUniform,
  type Model,
  type TrainableBucket,
  z,
  zeros,
} from "@graftml/peft";
import {
  add,
  dropout,
  gather,
  hostRuntime,
  linear,
  mean,
  type Runtime,
  scale,
  type Shape,
  sizeOf,
  square,
  type Store,
  tanh,
} from "@graftml/tensor";
import type { Example } from "../src/index.ts";

const [V, D] = [11, 8];

/** Predicts a token from the one before: embedding, one residual block, head. */
export const toy: Model = {
  info: {
    type: "toy",
    architecture: "ToyForCausalLM",
    task: "causal-lm",
    labels: 0,
    layers: 1,
    hidden: D,
    heads: 1,
    keyHeads: 1,
    headWidth: D,
    vocabulary: V,
    maxLength: 64,
    config: {},
  },
  inputs: (trace, { batch, length }) => ({
    ids: trace.input("ids", [batch, length], "i32"),
    positions: null,
    mask: null,
  }),
  forward(scope, { ids }) {
    const table = scope.at("embed").param("weight", [V, D]);
    const h = scope.at("embed").call("embedding", { roles: ["embed"], in: V, out: D }, ids, (x) => gather(table, x)); // [B, T, D]
    const block = scope.at("block");
    return block.call("layer", { roles: ["block"] }, h, (x) =>
      add(x, tanh(block.at("mix").linear(x, { roles: ["mlp.up"], in: D, out: D }))),
    );
  },
  head: (scope, h) => scope.at("head").linear(h, { roles: ["unembed"], in: D, out: V }),
};

const shapes: Readonly<Record<string, Shape>> = {
  "embed.weight": [V, D],
  "block.mix.weight": [D, D],
  "head.weight": [V, D],
};

/** Fixed values between −1 and 1. */
const fixed = (size: number, phase = 0): Float32Array =>
  new Float32Array(size).map((_, i) => Math.sin(1.7 * i + phase));

export const toyBase: Base = {
  names: () => Object.keys(shapes),
  describe: (name) => shapes[name] && { shape: shapes[name], dtype: "f32" },
  read: async (name) => fixed(sizeOf(shapes[name] ?? []), name.length),
};

/** y + B tanh-free A x on linears, with dropout on x and a penalty on A: everything a method can ask of a trainer. */
export const lowRank = defineMethod({
  contract: 1,
  name: "low-rank",
  group: "addition",
  source: "this test",
  config: z.object({ rank: z.number().default(2), dropout: z.number().default(0), penalty: z.number().default(0) }),
  adapt: ({ rank, dropout: p, penalty }) => ({
    linear: {
      at: "all-linear",
      wrap: (x, next, here) => {
        const a = here.own("A", [rank, here.site.in], kaimingUniform);
        const b = here.own("B", [here.site.out, rank], zeros, { lrScale: 4, decay: false });
        if (penalty > 0) here.penalize(scale(mean(square(a)), penalty));
        const noisy = here.train ? dropout(x, p, () => here.uniform("noise", x.shape)) : x;
        return add(next(x), linear(linear(noisy, a), b));
      },
    },
  }),
});

/** A model with an adapter in a store, ready to be trained. */
export interface Ready {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly model: Model;
  readonly adapters: readonly Adapter[];
  readonly trainable: readonly TrainableBucket[];
}

export function ready(
  config: Parameters<typeof lowRank>[0] = {},
  {
    runtime = hostRuntime(),
    seed = 1,
    ...options
  }: AdaptOptions & { readonly runtime?: Runtime; readonly seed?: number } = {},
): Ready {
  const store = runtime.store();
  const adapter = adapt(toy, [lowRank(config)], options);
  declareBase(store, toyBase);
  const trainable = declareAdapter(store, adapter, toyBase, { seed });
  return { runtime, store, model: toy, adapters: [adapter], trainable };
}

/** Rows of different lengths in which the next token follows from the one before, most of the time. */
export const rows = (count: number, { longest = 12 } = {}): readonly Example[] =>
  Array.from({ length: count }, (_, r) => {
    const ids = Array.from(
      { length: 3 + ((5 * r) % (longest - 2)) },
      (_, t) => (r + 3 * t + (t % 4 === 3 ? r : 0)) % V,
    );
    return { ids, labels: ids };
  });
