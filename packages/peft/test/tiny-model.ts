// A decoder of two linears a block, small enough to read, with the names of a Llama: what the tests of this package adapt.

import { type Base, type Model, type ModelInfo, rngOf, type Scope } from "@graftml/peft";
import { add, gather, type Shape, slice, type Source, sizeOf, type Tensor } from "@graftml/tensor";

const [V, D, F] = [7, 4, 6];

const info: ModelInfo = {
  type: "tiny",
  architecture: "TinyForCausalLM",
  task: "causal-lm",
  labels: 0,
  layers: 2,
  hidden: D,
  heads: 1,
  keyHeads: 1,
  headWidth: D,
  vocabulary: V,
  maxLength: 16,
  config: {},
};

/** h = h + down(up(h)) twice; a head that is tied to the embedding or not. */
export const tinyModel = ({ tied = false } = {}): Model => ({
  info,
  inputs: (trace, { batch, length }) => ({
    ids: trace.input("ids", [batch, length], "i32"),
    positions: null,
    mask: null,
  }),
  forward: (s, { ids }) => {
    const embed = s.at("model").at("embed_tokens");
    let h = embed.call("embedding", { roles: ["embed"] }, ids, (x) => gather(embed.param("weight", [V, D]), x));
    for (let i = 0; i < info.layers; i++) h = block(s.at("model").at("layers").at(String(i)), h);
    return h;
  },
  head: (s, h) =>
    s.at("lm_head").linear(h, {
      roles: ["unembed"],
      in: D,
      out: V,
      ...(tied && { weight: "model.embed_tokens.weight" }),
    }),
});

/** The same with a head that judges a whole row by its first token: its `classifier` is trained with every method. */
export const tinyClassifier = ({ pooler = false } = {}): Model => ({
  ...tinyModel(),
  info: { ...info, architecture: "TinyForSequenceClassification", task: "sequence-classification", labels: 3 },
  head: (s, h) => {
    const first = slice(h, 1, 0, 1);
    const dense = s.at("model").at("pooler").at("dense");
    const pooled = pooler ? dense.linear(first, { roles: ["pooler"], in: D, out: D, bias: true }) : first;
    return s.at("classifier").linear(pooled, { roles: ["head"], in: D, out: 3, bias: true });
  },
});

const block = (s: Scope, h: Tensor): Tensor =>
  s.call("layer", { roles: ["block"] }, h, (x) => {
    const up = s
      .at("mlp")
      .at("up_proj")
      .linear(x, { roles: ["mlp.up"], in: D, out: F, bias: true });
    return add(
      x,
      s
        .at("mlp")
        .at("down_proj")
        .linear(up, { roles: ["mlp.down"], in: F, out: D, transposed: true }),
    );
  });

/** Shapes of its parameters. */
export const tinyShapes = ({ tied = false } = {}): ReadonlyMap<string, Shape> =>
  new Map<string, Shape>([
    ["model.embed_tokens.weight", [V, D]],
    ...[0, 1].flatMap((i): [string, Shape][] => [
      [`model.layers.${i}.mlp.up_proj.weight`, [F, D]],
      [`model.layers.${i}.mlp.up_proj.bias`, [F]],
      [`model.layers.${i}.mlp.down_proj.weight`, [D, F]],
    ]),
    ...(tied ? [] : [["lm_head.weight", [V, D]] as [string, Shape]]),
  ]);

/** A base of random values, or of given ones. */
export function baseOf(shapes: ReadonlyMap<string, Shape>, values: Readonly<Record<string, Source>> = {}): Base {
  return {
    names: () => shapes.keys(),
    describe: (name) => {
      const shape = shapes.get(name);
      return shape && { shape, dtype: values[name] instanceof Uint16Array ? "f16" : "f32" };
    },
    read: async (name) => {
      const rng = rngOf(0, name);
      return values[name] ?? new Float32Array(sizeOf(shapes.get(name) ?? [])).map(() => rng.normal() / 2);
    },
  };
}
