import { census, openScope, type Site } from "@graftml/peft";
import { Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { buildModel, loadModel, tokenInputs } from "../src/index.ts";
import { folderOf } from "./golden.ts";

const described = ({ kind, path, roles, in: width, out, weight, bias, transposed }: Site): string =>
  [
    `${kind} ${path} (${roles.join(" ")})`,
    ...(width + out > 0 ? [`${width}→${out}`] : []),
    ...(kind === "linear" && weight !== `${path}.weight` ? [`= ${weight}`] : []),
    ...(bias ? ["+bias"] : []),
    ...(transposed ? ["transposed"] : []),
  ].join(" ");

const sitesOf = async (name: string): Promise<readonly Site[]> => census((await loadModel(folderOf(name))).model).sites;
const places = (sites: readonly Site[], layer: number | null): string[] =>
  sites.filter((s) => s.kind !== "param" && s.layer === layer).map(described);

describe("sites", () => {
  it("of Llama carry Hugging Face's module paths", async () => {
    const sites = await sitesOf("llama");
    expect(places(sites, null)).toEqual([
      "embedding model.embed_tokens (embed) 61→24",
      "positions model.rotary_emb (positions)",
      "layer model.embed_tokens (embed) 24→24",
      "layer model.norm (unembed) 24→24",
      "linear lm_head (unembed) 24→61",
    ]);
    expect(places(sites, 1)).toEqual([
      "layer model.layers.1 (block) 24→24",
      "linear model.layers.1.self_attn.q_proj (attn.q) 24→40 +bias",
      "linear model.layers.1.self_attn.k_proj (attn.k) 24→20 +bias",
      "linear model.layers.1.self_attn.v_proj (attn.v) 24→20 +bias",
      "attention model.layers.1.self_attn (attn) 10→2",
      "linear model.layers.1.self_attn.o_proj (attn.o) 40→24 +bias",
      "residual model.layers.1.self_attn (attn) 24→24",
      "linear model.layers.1.mlp.gate_proj (mlp.gate) 24→37 +bias",
      "linear model.layers.1.mlp.up_proj (mlp.up) 24→37 +bias",
      "linear model.layers.1.mlp.down_proj (mlp.down) 37→24 +bias",
      "residual model.layers.1.mlp (mlp) 24→24",
    ]);
  });

  it("of GPT-2 carry Hugging Face's module paths, fused projections all their roles", async () => {
    const sites = await sitesOf("gpt2");
    expect(places(sites, null)).toEqual([
      "embedding transformer.wte (embed) 59→24",
      "positions transformer.wpe (positions)",
      "layer transformer.drop (embed) 24→24",
      "layer transformer.ln_f (unembed) 24→24",
      "linear lm_head (unembed) 24→59 = transformer.wte.weight",
    ]);
    expect(places(sites, 0)).toEqual([
      "layer transformer.h.0 (block) 24→24",
      "linear transformer.h.0.attn.c_attn (attn.q attn.k attn.v) 24→72 +bias transposed",
      "attention transformer.h.0.attn (attn) 8→3",
      "linear transformer.h.0.attn.c_proj (attn.o) 24→24 +bias transposed",
      "residual transformer.h.0.attn (attn) 24→24",
      "linear transformer.h.0.mlp.c_fc (mlp.up) 24→50 +bias transposed",
      "linear transformer.h.0.mlp.c_proj (mlp.down) 50→24 +bias transposed",
      "residual transformer.h.0.mlp (mlp) 24→24",
    ]);
  });

  it("name a tied weight once", async () => {
    const parameters = (await sitesOf("llama-tied")).filter((s) => s.kind === "param").map((s) => s.path);
    expect(parameters).toContain("model.embed_tokens.weight");
    expect(parameters).not.toContain("lm_head.weight");
  });

  it("mark the parameters of norms", async () => {
    const norms = (await sitesOf("gpt2")).filter((s) => s.roles.includes("norm")).map((s) => s.path);
    expect(norms).toEqual(
      ["h.0.ln_1", "h.0.ln_2", "h.1.ln_1", "h.1.ln_2", "ln_f"].flatMap((n) => [
        `transformer.${n}.weight`,
        `transformer.${n}.bias`,
      ]),
    );
  });
});

describe("the model's own dropout", () => {
  const config = { model_type: "gpt2", vocab_size: 7, n_positions: 8, n_embd: 4, n_layer: 2, n_head: 1, attn_pdrop: 0 };
  const draws = (dropout: number | "config", train: boolean): readonly string[] => {
    const model = buildModel({ ...config, embd_pdrop: 0.5 }, { dropout });
    const trace = new Trace();
    model.forward(openScope(trace, [], { train, model: model.info }), model.inputs(trace, { batch: 2, length: 3 }));
    return trace.nodes.filter((n) => n.op.name === "uniform").map((n) => n.label);
  };

  it("acts while training, in the embedding and before both residual adds", () => {
    const blocks = [0, 1].flatMap((i) => [`transformer.h.${i}.attn.resid_dropout`, `transformer.h.${i}.mlp.dropout`]);
    expect(draws("config", true)).toEqual(["transformer.drop", ...blocks]);
    expect(draws("config", false)).toEqual([]);
  });

  it("is off where told", () => {
    expect(draws(0, true)).toEqual([]);
  });
});

describe("inputs", () => {
  it("refuse sequences that are longer than the model's positions", () => {
    expect(() => tokenInputs(new Trace(), { batch: 1, length: 9 }, 8)).toThrow(/9 tokens are too long: .* 8 positions/);
  });
});
