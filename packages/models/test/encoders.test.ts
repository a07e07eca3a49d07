import { ConfigError, declareBase, type Layer, sites, StateError } from "@graftml/peft";
import { cast, concat, fill, hostRuntime, sizeOf, type Source } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { rowOf } from "../src/disentangled.ts";
import { buildModel, loadModel, type LoadOptions, saveModel } from "../src/index.ts";
import { inferenceScope, logitsOf } from "../src/logits.ts";
import { changed, emptyFolder, type FileTensor } from "./folders.ts";
import { difference, encoders, flat, folderOf, goldenOf, shapeOf } from "./golden.ts";

const runtime = hostRuntime();
const open = async (name: string, options: LoadOptions = {}) => {
  const { model, base } = await loadModel(folderOf(name), { task: goldenOf(name).task, ...options });
  const store = runtime.store();
  declareBase(store, base);
  return { runtime, store, model };
};
type Opened = Awaited<ReturnType<typeof open>>;

/** Logits of one batch whose inputs are given, in a scope with more layers. */
async function run(
  setup: Opened,
  size: { readonly batch: number; readonly length: number; readonly packed?: boolean },
  inputs: Readonly<Record<string, Source>>,
  layers: readonly Layer[] = [],
): Promise<number[]> {
  const program = await runtime.compile(setup.store, (trace) => {
    const scope = inferenceScope(trace, setup, layers);
    const batch = setup.model.inputs(trace, size);
    return { logits: setup.model.head(scope, setup.model.forward(scope, batch), batch) };
  });
  const { logits } = await program.run(inputs);
  return Array.from(logits!);
}

const texts = [
  [5, 9, 3, 17],
  [11, 7, 23],
];
const ofTokens = ["bert-tokens", "roberta-tokens", "distilbert-tokens", "deberta-tokens", "deberta-v2-tokens"];

describe.each(ofTokens)("an encoder (%s)", (name) => {
  it("reads a text the same, whatever shares its batch", async () => {
    const setup = await open(name);
    const [together] = [(await logitsOf(setup, texts))[1]!];
    const [alone] = await logitsOf(setup, texts.slice(1));
    expect(difference(together, [...alone!])).toBeLessThan(1e-9);
  });

  it("reads texts that share a row as each alone", async () => {
    const setup = await open(name);
    const packed = await run(
      setup,
      { batch: 1, length: 8, packed: true },
      {
        ids: [...texts.flat(), 0],
        types: new Array<number>(8).fill(0),
        mask: [1, 1, 1, 1, 2, 2, 2, 0],
        positions: [0, 1, 2, 3, 0, 1, 2, 0],
      },
    );
    const alone = (await logitsOf(setup, texts)).flatMap((x) => [...x]);
    expect(difference(packed.slice(0, alone.length), alone)).toBeLessThan(1e-9);
  });

  it("reads a row that a method puts in front like a token that stands there", async () => {
    const setup = await open(name);
    const token = 6;
    const front: Layer = {
      id: "front",
      name: "front",
      adaptation: {
        embedding: {
          at: "*",
          wrap: (ids, next) => next(concat([cast(fill(ids.node.trace, [1, 1], token), "i32"), ids], 1)),
        },
      },
    };
    const [text = []] = texts;
    const T = text.length;
    const inputs = { ids: text, types: text.map(() => 0), mask: text.map(() => 1) };
    const got = await run(setup, { batch: 1, length: T }, inputs, [front]);
    const [want] = await logitsOf(setup, [[token, ...text]]);
    expect(difference(got, [...want!])).toBeLessThan(1e-9);
  });
});

describe("heads", () => {
  const judge = (options: LoadOptions = {}) =>
    loadModel(folderOf("bert-tokens"), { task: "sequence-classification", ...options });

  it("start from random values where a checkpoint lacks them, the same for the same seed", async () => {
    const { base, drawn } = await judge({ seed: 1 });
    expect(drawn).toEqual([
      "bert.pooler.dense.weight",
      "bert.pooler.dense.bias",
      "classifier.weight",
      "classifier.bias",
    ]);
    const read = async (seed: number) => [...(await (await judge({ seed })).base.read("classifier.weight"))];
    const values = await read(1);
    expect(values).toEqual([...(await base.read("classifier.weight"))]);
    expect(values).not.toEqual(await read(2));
    expect(Math.max(...values.map(Math.abs))).toBeLessThan(0.1); // initializer_range is 0.02
    expect([...(await base.read("classifier.bias"))]).toEqual([0, 0]);
  });

  it("are read where a checkpoint has them", async () => {
    expect((await loadModel(folderOf("bert-classes"), { task: "sequence-classification" })).drawn).toEqual([]);
  });

  it("have as many outputs as told, else as config.json names, else two", async () => {
    const labels = async (config: Record<string, unknown>, told?: number): Promise<[number, number]> => {
      const { model } = await loadModel(await changed("bert-tokens", { config }), {
        task: "token-classification",
        labels: told ?? null,
      });
      const { id2label = {} } = model.info.config;
      return [model.info.labels, Object.keys(id2label as object).length];
    };
    expect(await labels({ id2label: { 0: "A", 1: "B", 2: "C" } })).toEqual([3, 3]);
    expect(await labels({ id2label: { 0: "A", 1: "B", 2: "C" } }, 7)).toEqual([7, 7]);
    expect((await labels({ num_labels: 4 }))[0]).toBe(4);
    expect((await labels({}))[0]).toBe(2);
  });

  it("of other tasks are passed over", async () => {
    const { drawn } = await loadModel(folderOf("bert-classes"), { task: "token-classification" });
    expect(drawn).toEqual([]);
  });

  it("of a checkpoint must have as many outputs as are wanted", async () => {
    await expect(loadModel(folderOf("bert-classes"), { task: "sequence-classification", labels: 3 })).rejects.toThrow(
      /classifier\.weight is \[5, 12\], config\.json makes it \[3, 12\]/,
    );
  });

  it("that predict tokens cannot be drawn", async () => {
    await expect(loadModel(folderOf("bert-classes"), { task: "masked-lm" })).rejects.toThrow(
      /missing .*cls\.predictions\.transform\.dense\.weight/,
    );
  });

  it("are refused for tasks that a family has none for, naming those that it has", async () => {
    const attempt = loadModel(folderOf("bert-tokens"), { task: "causal-lm" });
    await expect(attempt).rejects.toThrow(ConfigError);
    await expect(attempt).rejects.toThrow(
      /"bert" has no head for the task causal-lm; it has heads for masked-lm, sequence-classification, token-classification/,
    );
  });
});

describe("files of encoders", () => {
  const rename = (tensors: Map<string, FileTensor>, to: (key: string) => string): void => {
    for (const [key, tensor] of Array.from(tensors)) {
      tensors.delete(key);
      tensors.set(to(key), tensor);
    }
  };
  const same = async (name: string, folder: string): Promise<void> => {
    const task = { task: goldenOf(name).task };
    const [a, b] = [await loadModel(folder, task), await loadModel(folderOf(name), task)];
    expect([...a.base.names()]).toEqual([...b.base.names()]);
    for (const key of b.base.names()) expect(await a.base.read(key), key).toEqual(await b.base.read(key));
  };

  it("may lack the prefix, hold buffers, and name the parts of norms as the first ones did", async () => {
    const old = (key: string): string =>
      key
        .replace(/^bert\./, "")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta");
    const folder = await changed("bert-classes", {
      tensors: (t) => {
        rename(t, old);
        t.set("embeddings.position_ids", { dtype: "I64", shape: [1, 2], data: new Uint8Array(16) });
      },
    });
    await same("bert-classes", folder);
  });

  it.each(encoders)("are written so that they are read again (%s)", async (name) => {
    const { model, base } = await loadModel(folderOf(name), { task: goldenOf(name).task });
    const folder = emptyFolder();
    await saveModel(folder, model, base);
    await same(name, folder);
  });
});

describe("weights", () => {
  const names = [
    "bert-classes",
    "roberta-tokens",
    "distilbert-tags",
    "deberta-tokens",
    "deberta-v2-neighbours",
    "vit-classes",
  ];
  const logits = async (name: string, options: LoadOptions) => {
    const { inputs } = goldenOf(name);
    const [batch = 0, length = 0] = shapeOf(inputs["ids"] ?? inputs["pixels"]!);
    const flatInputs = Object.fromEntries(Object.entries(inputs).map(([key, x]) => [key, flat(x)]));
    return run(await open(name, options), { batch, length }, flatInputs);
  };

  it.each(names)("may be stored in half precision (%s)", async (name) => {
    expect(difference(await logits(name, { weights: "f16" }), flat(goldenOf(name).logits))).toBeLessThan(5e-3);
  });

  it.each(names)("may be drawn by config.json's rules (%s)", async (name) => {
    const { model, base } = await loadModel(folderOf(name), { task: goldenOf(name).task, init: "random" });
    for (const { kind, path, roles } of sites(model)) {
      if (kind !== "param") continue;
      const values = Array.from(await base.read(path));
      if (roles.includes("bias")) expect(new Set(values), path).toEqual(new Set([0]));
      else if (roles.includes("norm")) expect(new Set(values), path).toEqual(new Set([1]));
      else expect(Math.max(...values.map(Math.abs)), path).toBeLessThan(0.12); // six deviations
    }
    expect((await logits(name, { init: "random" })).every(Number.isFinite)).toBe(true);
  });

  it("of the padding token are drawn as zero, in every table that it has a row of", async () => {
    const { base } = await loadModel(folderOf("roberta-tokens"), { task: "masked-lm", init: "random" });
    for (const table of ["word_embeddings", "position_embeddings"]) {
      const values = Array.from(await base.read(`roberta.embeddings.${table}.weight`));
      expect(new Set(values.slice(2 * 12, 3 * 12))).toEqual(new Set([0])); // its id is 2
      expect(values.slice(3 * 12, 4 * 12)).not.toContain(0);
    }
  });
});

describe("a configuration is refused, by name, where it wants", () => {
  it.each<[string, string, Readonly<Record<string, unknown>>, RegExp]>([
    ["a decoder", "bert-tokens", { is_decoder: true }, /is_decoder: only false is supported; found true/],
    [
      "relative keys",
      "bert-tokens",
      { position_embedding_type: "relative_key" },
      /position_embedding_type: only "absolute"/,
    ],
    ["an unknown activation", "roberta-tokens", { hidden_act: "mish" }, /hidden_act: .*found "mish"/],
    [
      "heads that do not divide",
      "bert-tokens",
      { num_attention_heads: 5 },
      /num_attention_heads: must divide hidden_size/,
    ],
    ["several labels of a word", "bert-tags", { problem_type: "multi_label_classification" }, /problem_type: only/],
    ["regression with classes", "bert-classes", { problem_type: "regression" }, /problem_type: only "single_label/],
    ["sinusoidal starts", "distilbert-tokens", { sinusoidal_pos_embds: true }, /sinusoidal_pos_embds: only false/],
    ["talking heads", "deberta-tokens", { talking_head: true }, /talking_head: only false/],
    ["buckets in version 1", "deberta-tokens", { position_buckets: 256 }, /position_buckets: only -1/],
    ["a convolution between rows", "deberta-v2-tokens", { conv_kernel_size: 2 }, /conv_kernel_size: must be odd/],
    ["narrow embeddings", "deberta-v2-tokens", { embedding_size: 6 }, /embedding_size: only hidden_size/],
    ["position to position", "deberta-v2-tokens", { pos_att_type: "c2p|p2p" }, /pos_att_type/],
    [
      "distances that nothing looks at",
      "deberta-tokens",
      { pos_att_type: null },
      /pos_att_type: relative_attention needs/,
    ],
    ["patches that do not fit", "vit-gray", { patch_size: 3 }, /patch_size: must divide image_size/],
  ])("%s", async (_, name, config, message) => {
    const attempt = changed(name, { config }).then((folder) => loadModel(folder, { task: goldenOf(name).task }));
    await expect(attempt).rejects.toThrow(StateError);
    await expect(attempt).rejects.toThrow(message);
  });
});

describe("sizes", () => {
  const bert = (hidden_size: number, num_hidden_layers: number, num_attention_heads: number) =>
    buildModel(
      {
        model_type: "bert",
        vocab_size: 30_522,
        max_position_embeddings: 512,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size: 4 * hidden_size,
      },
      { task: "sequence-classification" },
    );

  it.each([
    ["BERT-base", bert(768, 12, 12), 109_482_240, 102_912, 46_080, [3, 19.4]],
    ["BERT-large", bert(1024, 24, 16), 335_141_888, 272_384, 122_880, [6, 22.6]],
    ["MiniLM", bert(384, 6, 12), 22_713_216, 26_112, 11_520, [1, 7.8]],
  ] as const)("of %s are those of its paper", (_, model, total, biases, half, [blocks, percent]) => {
    const parameters = sites(model).filter((s) => s.kind === "param" && !s.roles.includes("head"));
    const count = (...roles: readonly string[]): number =>
      parameters
        .filter((s) => roles.length === 0 || roles.some((role) => role.split(" ").every((r) => s.roles.includes(r))))
        .reduce((n, { shape }) => n + sizeOf(shape), 0);
    expect(count()).toBe(total);
    expect(count("bias")).toBe(biases);
    expect(count("bias attn.q", "bias mlp.up")).toBe(half); // queries and the middle of the feed-forward
    const top = parameters.filter((s) => s.layer !== null && s.layer >= model.info.layers - blocks);
    const share = top.reduce((n, { shape }) => n + sizeOf(shape), 0) / total;
    expect(100 * share).toBeCloseTo(percent, 1);
  });
});

describe("distances", () => {
  it("have rows of their own up to half of the buckets, and wider and wider ones beyond", () => {
    const rows = (...distances: readonly number[]): number[] =>
      distances.map((d) => rowOf(d, { span: 256, buckets: { mid: 128, max: 512 } }) - 256);
    // As transformers gives them, for the sizes of DeBERTa v3.
    expect(rows(-1, 127, 128, 129, 256, 300, 400, 500, 511)).toEqual([-1, 127, 128, 129, 192, 207, 233, 254, 255]);
    expect(rows(600, -600)).toEqual([255, -256]);
  });
});
