import { openScope, predict, type Site, sites } from "@graftml/peft";
import { Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { loadModel } from "../src/index.ts";
import { folderOf, goldenOf } from "./golden.ts";

const open = async (name: string, dropout: number | "config" = 0) =>
  (await loadModel(folderOf(name), { task: goldenOf(name).task, dropout })).model;
const described = ({ kind, path, roles, bias }: Site): string =>
  `${kind} ${path} (${roles.join(" ")})${kind === "linear" && !bias ? " without bias" : ""}`;
/** Sites of a block, or of none (null), without the parameters. */
const places = async (name: string, layer: number | null): Promise<string[]> =>
  sites(await open(name))
    .filter((s) => s.kind !== "param" && s.layer === layer)
    .map(described);

describe("sites", () => {
  it("of BERT carry Hugging Face's module paths, and the roles that methods look for", async () => {
    expect(await places("bert-classes", 1)).toEqual([
      "layer bert.encoder.layer.1 (block)",
      "linear bert.encoder.layer.1.attention.self.query (attn.q)",
      "linear bert.encoder.layer.1.attention.self.key (attn.k)",
      "linear bert.encoder.layer.1.attention.self.value (attn.v)",
      "attention bert.encoder.layer.1.attention.self (attn)",
      "linear bert.encoder.layer.1.attention.output.dense (attn.o)",
      "residual bert.encoder.layer.1.attention (attn)",
      "linear bert.encoder.layer.1.intermediate.dense (mlp.up)",
      "linear bert.encoder.layer.1.output.dense (mlp.down)",
      "residual bert.encoder.layer.1.output (mlp)",
    ]);
    expect(await places("bert-classes", null)).toEqual([
      "embedding bert.embeddings.word_embeddings (embed)",
      "positions bert.embeddings.position_embeddings (positions)",
      "layer bert.embeddings (embed)",
      "linear bert.pooler.dense (pooler)",
      "linear classifier (head)",
    ]);
  });

  it("of a masked head are a transform and the output embedding", async () => {
    expect((await places("bert-tokens", null)).slice(-3)).toEqual([
      "layer cls.predictions.transform.LayerNorm (unembed)",
      "linear cls.predictions.transform.dense (transform)",
      "linear cls.predictions.decoder (unembed) without bias",
    ]);
  });

  it("of DeBERTa's first version have one projection with all roles, and projections of distances", async () => {
    expect((await places("deberta-tokens", 0)).slice(1, 5)).toEqual([
      "linear deberta.encoder.layer.0.attention.self.in_proj (attn.q attn.k attn.v) without bias",
      "linear deberta.encoder.layer.0.attention.self.pos_proj (pos.k) without bias",
      "linear deberta.encoder.layer.0.attention.self.pos_q_proj (pos.q)",
      "attention deberta.encoder.layer.0.attention.self (attn)",
    ]);
  });

  it("of ViT are named as its modules are, its convolution being none of them", async () => {
    expect(await places("vit-classes", null)).toEqual(["layer vit.embeddings (embed)", "linear classifier (head)"]);
    expect((await places("vit-classes", 0)).slice(1, 3)).toEqual([
      "linear vit.layers.0.attention.q_proj (attn.q)",
      "linear vit.layers.0.attention.k_proj (attn.k)",
    ]);
  });

  it("tell the norm of embeddings from others, and a shared token table from one that only embeds", async () => {
    const rolesIn = async (name: string, path: string) =>
      sites(await open(name)).find((s) => s.kind === "param" && s.path === path)?.roles;
    expect(await rolesIn("bert-tokens", "bert.embeddings.LayerNorm.weight")).toEqual(["weight", "norm", "embed"]);
    expect(await rolesIn("bert-tokens", "bert.encoder.layer.0.output.LayerNorm.bias")).toEqual(["bias", "norm"]);
    const table = "bert.embeddings.word_embeddings.weight";
    expect(await rolesIn("bert-tokens", table)).toEqual(["weight", "embed", "unembed"]);
    expect(await rolesIn("bert-tokens-untied", table)).toEqual(["weight", "embed"]);
    expect(await rolesIn("bert-classes", table)).toEqual(["weight", "embed"]);
  });
});

describe("dropout", () => {
  /** Where elements are dropped, and the rates inside attention. */
  const dropped = async (name: string, dropout: number | "config") => {
    const model = await open(name, dropout);
    const trace = new Trace();
    predict(model, openScope(trace, [], { train: true, model: model.info }), { batch: 1, length: 4 });
    const attention = trace.nodes
      .filter((n) => n.op.name === "attention")
      .map((n) => (n.attrs as { drop: number }).drop);
    return { at: trace.nodes.filter((n) => n.op.name === "uniform").map((n) => n.label), attention };
  };

  it("acts where transformers' modules stand, at the rates of config.json", async () => {
    const block = (i: number) => [`attention.output.dropout`, `output.dropout`].map((m) => `encoder.layer.${i}.${m}`);
    expect(await dropped("bert-classes", "config")).toEqual({
      at: ["bert.embeddings.dropout", ...[...block(0), ...block(1)].map((m) => `bert.${m}`), "dropout"],
      attention: [0.1, 0.1],
    });
    expect((await dropped("roberta-classes", "config")).at.slice(-2)).toEqual([
      "classifier.dropout.0",
      "classifier.dropout.1",
    ]);
    expect((await dropped("distilbert-classes", "config")).at).toEqual([
      "distilbert.embeddings.dropout",
      ...[0, 1].map((i) => `distilbert.transformer.layer.${i}.ffn.dropout`),
      "dropout",
    ]);
    expect((await dropped("deberta-v2-neighbours", "config")).at.slice(0, 5)).toEqual([
      "deberta.embeddings.dropout",
      "deberta.encoder.layer.0.attention.self.pos_dropout",
      "deberta.encoder.layer.0.attention.output.dropout",
      "deberta.encoder.layer.0.output.dropout",
      "deberta.encoder.conv.dropout",
    ]);
  });

  it.each([
    "bert-classes",
    "roberta-classes",
    "distilbert-classes",
    "deberta-classes",
    "deberta-v2-neighbours",
    "vit-classes",
  ])("is off, or has one rate, where told (%s)", async (name) => {
    const off = await dropped(name, 0);
    expect([off.at, new Set(off.attention)]).toEqual([[], new Set([0])]);
    const on = await dropped(name, 0.25);
    expect(new Set(on.attention)).toEqual(new Set([0.25]));
    expect(on.at.length).toBeGreaterThan(2);
  });
});
