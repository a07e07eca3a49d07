import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sites } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { bucketOf, buildModel, type Buckets, loadModel } from "../src/index.ts";
import { changed, type FileTensor } from "./folders.ts";
import { folderOf } from "./golden.ts";

const task = "seq2seq-lm";
const configOf = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(folderOf(name), "config.json"), "utf8")) as Record<string, unknown>;

describe("bucketOf", () => {
  const tables = JSON.parse(readFileSync(join(import.meta.dirname, "golden/buckets.json"), "utf8")) as (Buckets & {
    readonly buckets: readonly number[];
  })[];
  it.each(tables)("sorts distances as transformers does ($count up to $maxDistance, both: $bidirectional)", (table) => {
    const far = (table.buckets.length - 1) / 2;
    expect(table.buckets.map((_, i) => bucketOf(i - far, table))).toEqual(table.buckets);
  });
});

describe("T5", () => {
  it("names its places as Hugging Face does, and what they are", () => {
    const described = sites(buildModel(configOf("t5-untied"), { task }))
      .filter((s) => s.kind !== "param" && /decoder|shared|lm_head/.test(s.path))
      .map(({ kind, path, roles }) => `${kind} ${path} (${roles.join(" ")})`);
    const block = "decoder.block.0";
    expect(described).toEqual([
      "embedding decoder.embed_tokens (embed)",
      "layer decoder.embed_tokens (embed)",
      `positions ${block}.layer.0.SelfAttention.relative_attention_bias (positions)`,
      `layer ${block} (block)`,
      ...["q", "k", "v"].map((x) => `linear ${block}.layer.0.SelfAttention.${x} (attn.${x})`),
      `attention ${block}.layer.0.SelfAttention (attn)`,
      `linear ${block}.layer.0.SelfAttention.o (attn.o)`,
      `residual ${block}.layer.0.SelfAttention (attn)`,
      ...["q", "k", "v"].map((x) => `linear ${block}.layer.1.EncDecAttention.${x} (cross.${x})`),
      `attention ${block}.layer.1.EncDecAttention (cross)`,
      `linear ${block}.layer.1.EncDecAttention.o (cross.o)`,
      `residual ${block}.layer.1.EncDecAttention (cross)`,
      `linear ${block}.layer.2.DenseReluDense.wi_0 (mlp.gate)`,
      `linear ${block}.layer.2.DenseReluDense.wi_1 (mlp.up)`,
      `linear ${block}.layer.2.DenseReluDense.wo (mlp.down)`,
      `residual ${block}.layer.2.DenseReluDense (mlp)`,
      "layer decoder.final_layer_norm (unembed)",
      "linear lm_head (unembed)",
    ]);
  });

  it("reads files that hold the token table under the names of its users", async () => {
    const users = ["encoder.embed_tokens.weight", "lm_head.weight"];
    const folder = await changed("t5", {
      tensors: (t) => {
        for (const user of users) t.set(user, t.get("shared.weight")!);
        t.delete("shared.weight");
        t.set("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", t.get(users[0]!)!); // never used
      },
    });
    const { base } = await loadModel(folder, { task });
    const { base: plain } = await loadModel(folderOf("t5"), { task });
    expect([...base.names()]).toEqual([...plain.names()]);
    expect(await base.read("shared.weight")).toEqual(await plain.read("shared.weight"));
  });

  const withHead = (change: (data: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>, tied: boolean) =>
    changed("t5", {
      config: { tie_word_embeddings: tied },
      tensors: (t: Map<string, FileTensor>) => {
        const table = t.get("shared.weight")!;
        t.set("lm_head.weight", { ...table, data: change(table.data.slice()) });
      },
    });
  it.each([
    ["a head of its own wins over tying", true, (data) => data.fill(0, 0, 8), true, true],
    ["a head that is the token table is tied, whatever config.json says", false, (data) => data, false, false],
  ] as const satisfies readonly (readonly [
    string,
    boolean,
    (data: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
    boolean,
    boolean,
  ])[])("takes the head that its file has: %s", async (_, tied, change, own, scaled) => {
    const { model, base } = await loadModel(await withHead(change, tied), { task });
    expect([...base.names()].includes("lm_head.weight")).toBe(own);
    expect(model.info.config["scale_decoder_outputs"]).toBe(scaled); // config.json alone decides that
  });

  it("starts from random weights by its own rules", async () => {
    const { base } = await loadModel(folderOf("t5"), { task, init: "random" });
    const deviation = async (name: string): Promise<number> => {
      const values = Float64Array.from(await base.read(name));
      return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    };
    const { d_model: D, d_kv: E, num_heads: H } = configOf("t5") as Record<string, number>;
    expect(await deviation("encoder.final_layer_norm.weight")).toBe(1);
    for (const [name, expected] of [
      ["shared.weight", 1],
      ["decoder.block.0.layer.0.SelfAttention.q.weight", (D! * E!) ** -0.5],
      ["decoder.block.0.layer.1.EncDecAttention.k.weight", D! ** -0.5],
      ["encoder.block.0.layer.0.SelfAttention.o.weight", (H! * E!) ** -0.5],
    ] as const)
      expect(Math.abs((await deviation(name)) / expected - 1), name).toBeLessThan(0.2);
  });

  it.each([
    [{ task: "causal-lm" }, {}, '"t5" has no head for the task causal-lm; it has heads for seq2seq-lm.'],
    [{ task }, { feed_forward_proj: "gated-snake" }, "feed_forward_proj: must be one of "],
    [{ task }, { is_encoder_decoder: false }, "is_encoder_decoder: only true is supported; found false"],
    [{ task }, { relative_attention_max_distance: 3 }, "must be above half of relative_attention_num_buckets"],
    [{ task }, { decoder_start_token_id: undefined }, "decoder_start_token_id"],
  ])("refuses what it cannot do (%j, %j)", (options, change, message) => {
    expect(() => buildModel({ ...configOf("t5"), ...change }, options)).toThrow(message);
  });

  it("refuses several texts in a row", () => {
    const model = buildModel(configOf("t5"), { task });
    const build = (trace: Parameters<typeof model.inputs>[0]) => ({
      ids: model.inputs(trace, { batch: 1, length: 4, packed: true }).ids,
    });
    const runtime = hostRuntime();
    expect(() => runtime.plan(runtime.store(), build)).toThrow(/one text a row/);
  });
});
