import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  bert,
  buildModel,
  type BuildOptions,
  type Family,
  llamas,
  randomBase,
  saveModel,
  t5,
  vit,
} from "@graftml/models";
import { declareBase, type JsonObject } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { causalLm, evaluate, packedLm, packRows } from "@graftml/trainer";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { config, graft, project, RUN } from "./helpers.ts";

const HOST = ["--device", "host"] as const;
const JUDGING = `task: sequence-classification\n${RUN.replace("dev.csv", "dev.tsv").replace("train.jsonl", "train.tsv")}`;

/** A project whose rows are texts and what they are judged to be. */
async function judging(train: string, dev: string, run = JUDGING): Promise<string> {
  const folder = await project(run);
  writeFileSync(join(folder, "train.tsv"), train);
  writeFileSync(join(folder, "dev.tsv"), dev);
  return folder;
}

const lastEval = (folder: string): Readonly<Record<string, number>> => {
  const line = readFileSync(join(folder, "out/metrics.jsonl"), "utf8").trim().split("\n").at(-1) ?? "";
  return (JSON.parse(line) as { readonly eval: Record<string, number> }).eval;
};

describe("classes of texts", { timeout: 60_000 }, () => {
  const train = "text\tlabel\na bee\tgood\nan egg\tbad\na cat\tgood\na dog\tbad\n";

  it("are found in the data, written down, and evaluated by name", async () => {
    const folder = await judging(train, "text\tlabel\na gnu\tbad\nhot hat\tgood\n");
    const { status, stderr } = await graft(folder, ["train", "run.yaml", ...HOST]);
    expect(status, stderr).toBe(0);
    const run = parse(readFileSync(join(folder, "out/run.yaml"), "utf8")) as { data: { labels: readonly string[] } };
    expect(run.data.labels).toEqual(["bad", "good"]);
    expect(Object.keys(lastEval(folder))).toEqual(["loss", "accuracy", "f1", "matthews"]);
    const { stdout } = await graft(folder, ["eval", "run.yaml", "--json", ...HOST]);
    const { adapted } = JSON.parse(stdout) as { readonly adapted: Record<string, number> };
    const { loss, ...others } = lastEval(folder);
    expect(adapted).toMatchObject(others);
    expect(adapted["loss"]).toBeCloseTo(loss!, 6); // the adapter was written in f32
  });

  it("are refused by file and line where they are none of the training data's", async () => {
    const folder = await judging(train, "text\tlabel\na gnu\tbad\nhot hat\tgoood\n");
    const { status, stderr } = await graft(folder, ["train", "run.yaml", ...HOST]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/dev\.tsv:3: the label "goood" is none of bad, good\. Did you mean "good"\?/);
  });

  it("are refused where there is only one", async () => {
    const { stderr, status } = await graft(await judging("text\tlabel\na\tx\nb\tx\n", train), ["train", "run.yaml"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/all rows of data\.train have the label "x"/);
  });

  it("are scores where they are numbers that are not whole", async () => {
    const scores = "text\tlabel\na bee\t0.5\nan egg\t1\na cat\t2.25\n";
    const folder = await judging(scores, scores);
    const { status, stderr } = await graft(folder, ["train", "run.yaml", ...HOST]);
    expect(status, stderr).toBe(0);
    expect(Object.keys(lastEval(folder))).toEqual(["loss", "pearson", "spearman"]);
  });
});

describe("several classes of a text", { timeout: 60_000 }, () => {
  const rows = [
    { text: "a bee", label: ["small", "alive"] },
    { text: "an egg", label: ["small"] },
    { text: "a cat", label: ["alive"] },
    { text: "a sea", label: [] },
  ];
  const several = async (train: readonly unknown[] = rows): Promise<string> => {
    const folder = await project(`task: sequence-classification\n${RUN.replace("dev.csv", "train.jsonl")}`);
    writeFileSync(join(folder, "train.jsonl"), train.map((row) => `${JSON.stringify(row)}\n`).join(""));
    return folder;
  };

  it("are learnt where labels are lists, and travel by name into the merged model", async () => {
    const folder = await several();
    const { status, stderr } = await graft(folder, ["train", "run.yaml", ...HOST]);
    expect(status, stderr).toBe(0);
    expect(Object.keys(lastEval(folder))).toEqual(["loss", "accuracy", "micro_f1", "macro_f1"]);
    const run = parse(readFileSync(join(folder, "out/run.yaml"), "utf8")) as { data: Record<string, unknown> };
    expect(run.data).toMatchObject({ labels: ["alive", "small"], multi_label: true });
    const merged = await graft(folder, ["merge", "run.yaml", "--out", "merged", ...HOST]);
    expect(merged.status, merged.stderr).toBe(0);
    expect(JSON.parse(readFileSync(join(folder, "merged/config.json"), "utf8"))).toMatchObject({
      problem_type: "multi_label_classification",
      id2label: { 0: "alive", 1: "small" },
      label2id: { alive: 0, small: 1 },
    });
    const { stdout } = await graft(folder, [
      "eval",
      "--model",
      "merged",
      "--task",
      "sequence-classification",
      "--data.eval",
      "train.jsonl",
      "--json",
      ...HOST,
    ]);
    const { base } = JSON.parse(stdout) as { readonly base: Record<string, number> };
    expect(base["loss"]).toBeCloseTo(lastEval(folder)["loss"]!, 5);
  });

  it("are refused where a list names none of them, or one twice", async () => {
    const { status, stderr } = await graft(await several([...rows, { text: "a", label: ["alive", "alive"] }]), [
      "validate",
      "run.yaml",
    ]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/train\.jsonl:5: the label "alive" is there twice/);
  });
});

/** A project whose model is another one, and whose rows are these, in training and held out. */
async function projectOf(
  task: string,
  model: JsonObject,
  family: Family,
  rows: readonly unknown[],
  options: Partial<BuildOptions> = {},
): Promise<string> {
  const run = RUN.replace("model: model", `task: ${task}\nmodel: other`).replace("dev.csv", "train.jsonl");
  const folder = await project(run);
  const built = buildModel(model, { task, ...options });
  await saveModel(join(folder, "other"), built, randomBase(built, family, 1), { companions: join(folder, "tokens") });
  writeFileSync(join(folder, "train.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return folder;
}

/** Trains until it knows the rows, merges, and evaluates the merged model: [last evaluation, the merged model's]. */
async function learnt(folder: string, task: string): Promise<readonly Readonly<Record<string, number>>[]> {
  const hard = ["--train.steps", "120", "--train.lr", "0.03", "--methods", "[{ name: full }]"];
  const trained = await graft(folder, ["train", "run.yaml", ...hard, ...HOST]);
  expect(trained.status, trained.stderr).toBe(0);
  const merged = await graft(folder, ["merge", "run.yaml", "--out", "merged", ...HOST]);
  expect(merged.status, merged.stderr).toBe(0);
  const judging = ["eval", "--model", "merged", "--task", task, "--data.eval", "train.jsonl", "--json", ...HOST];
  const { status, stdout, stderr } = await graft(folder, judging);
  expect(status, stderr).toBe(0);
  return [lastEval(folder), (JSON.parse(stdout) as { readonly base: Record<string, number> }).base];
}

describe("a source and its target", { timeout: 90_000 }, () => {
  const small = {
    model_type: "t5",
    architectures: ["T5ForConditionalGeneration"],
    vocab_size: config.vocab_size,
    d_model: 8,
    d_kv: 4,
    d_ff: 16,
    num_layers: 1,
    num_decoder_layers: 1,
    num_heads: 2,
    relative_attention_num_buckets: 4,
    feed_forward_proj: "relu",
    decoder_start_token_id: 0,
    pad_token_id: 0,
    eos_token_id: 2,
  };

  it("are learnt, evaluated, written by the model and kept when it is merged", async () => {
    const rows = ["ab", "cd", "ef"].map((source) => ({ source, target: source[1] }));
    const folder = await projectOf("seq2seq-lm", small, t5, rows);
    const [attached, merged] = await learnt(folder, "seq2seq-lm");
    expect(attached!["loss"]).toBeLessThan(0.4);
    expect(merged!["loss"]).toBeCloseTo(attached!["loss"]!, 4);
    const asked = ["generate", "--model", "merged", "--task", "seq2seq-lm", "--prompt", "cd", "--json", ...HOST];
    const { stdout, stderr } = await graft(folder, asked);
    expect(stdout, stderr).toMatch(/"text":"d"/);
  });
});

describe("classes of words", { timeout: 90_000 }, () => {
  const small = {
    model_type: "bert",
    architectures: ["BertForTokenClassification"],
    vocab_size: config.vocab_size,
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 32,
    type_vocab_size: 2,
    pad_token_id: 0,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };

  it("are learnt, evaluated as spans, and kept by name when the model is merged", async () => {
    const rows = [
      { tokens: ["a", "bee", "hums"], tags: ["O", "B-PET", "O"] },
      { tokens: ["the", "cat", "cub"], tags: ["O", "B-PET", "I-PET"] },
    ];
    const folder = await projectOf("token-classification", small, bert, rows, { labels: 3 });
    const [attached, merged] = await learnt(folder, "token-classification");
    expect(attached).toMatchObject({ accuracy: 1, f1: 1 });
    expect(merged!["loss"]).toBeCloseTo(attached!["loss"]!, 4);
    const { id2label } = JSON.parse(readFileSync(join(folder, "merged/config.json"), "utf8")) as {
      readonly id2label: unknown;
    };
    expect(id2label).toEqual({ 0: "B-PET", 1: "I-PET", 2: "O" });
  });
});

describe("rows that cannot be used", { timeout: 60_000 }, () => {
  it.each([
    ["empty", "a bee\t", /train\.tsv:5: column "label" is empty: the row has no label\. Give it one, or drop the row/],
    ["none of the classes", "a bee\tgrand", /train\.tsv:5: the label "grand" is none of good, bad/],
  ])("are found by validate where the label is %s", async (_, row, message) => {
    const train = `text\tlabel\na bee\tgood\nan egg\tbad\na cat\tgood\n${row}\n`;
    const folder = await judging(train, "text\tlabel\na gnu\tbad\n");
    const { status, stderr } = await graft(folder, ["validate", "run.yaml", "--data.labels", "[good, bad]"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});

describe("images", { timeout: 60_000 }, () => {
  const vision = {
    model_type: "vit",
    image_size: 4,
    patch_size: 2,
    num_channels: 3,
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    hidden_act: "gelu",
    layer_norm_eps: 1e-6,
    qkv_bias: true,
    initializer_range: 0.3,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };

  /** An image of one color. */
  function plain(color: readonly [number, number, number]): Buffer {
    const image = new PNG({ width: 6, height: 5 });
    image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : color[(i % 4) as 0 | 1 | 2]));
    return PNG.sync.write(image);
  }

  it("in a folder for each class are told apart", async () => {
    const run = `task: image-classification\nmodel: vision\n${RUN.replace("model: model\n", "").replace("train.jsonl", "images").replace("dev.csv", "images")}`;
    const folder = await project(run);
    const model = buildModel(vision, { task: "image-classification", labels: 2 });
    await saveModel(join(folder, "vision"), model, randomBase(model, vit, 1), {});
    writeFileSync(join(folder, "vision/preprocessor_config.json"), JSON.stringify({ size: { height: 4, width: 4 } }));
    for (const [label, color] of [
      ["red", [200, 10, 10]],
      ["sky", [90, 160, 250]],
    ] as const) {
      mkdirSync(join(folder, "images", label), { recursive: true });
      for (const name of ["a.png", "b.png"]) writeFileSync(join(folder, "images", label, name), plain(color));
    }
    const { status, stderr } = await graft(folder, [
      "train",
      "run.yaml",
      "--train.steps",
      "20",
      "--train.lr",
      "0.05",
      ...HOST,
    ]);
    expect(status, stderr).toBe(0);
    expect(lastEval(folder)).toMatchObject({ accuracy: 1, f1: 1 });
  });
});

describe("held-out rows", { timeout: 60_000 }, () => {
  it("are as many as the run asks for", async () => {
    const folder = await project();
    const held = ["eval", "--model", "model", "--data.eval", "dev.csv", "--json", ...HOST];
    const rowsOf = async (...args: readonly string[]) =>
      (JSON.parse((await graft(folder, [...held, ...args])).stdout) as { readonly rows: number }).rows;
    expect([await rowsOf(), await rowsOf("--data.eval_rows", "1")]).toEqual([2, 1]);
  });
});

describe("figures of what is written", { timeout: 60_000 }, () => {
  it("judge the answer to each prompt by all its references", async () => {
    const folder = await project(RUN.replace("  eval: dev.csv", "  eval: dev.jsonl\n  metrics: [rouge1, exact_match]"));
    const rows = ["b", "c"].map((completion) => `${JSON.stringify({ prompt: "a ", completion })}\n`);
    writeFileSync(join(folder, "train.jsonl"), rows.join(""));
    writeFileSync(join(folder, "dev.jsonl"), rows.join(""));
    const { status, stderr } = await graft(folder, [
      "train",
      "run.yaml",
      "--train.steps",
      "150",
      "--train.lr",
      "0.05",
      ...HOST,
    ]);
    expect(status, stderr).toBe(0);
    expect(lastEval(folder)).toMatchObject({ rouge1: 1, exact_match: 1 });
    expect(lastEval(folder)["bits_per_character"]).toBeGreaterThan(0);
  });
});

describe("packed rows", { timeout: 60_000 }, () => {
  const texts = [
    [1, 5, 9, 4],
    [1, 7, 7, 3, 12, 20],
    [1, 15],
    [1, 8, 22, 6, 9],
    [1, 11, 13],
  ].map((ids) => ({
    ids,
    labels: ids,
  }));

  it("lose what the same texts lose apart, with attention and rotary positions", async () => {
    const model = buildModel(config);
    const runtime = hostRuntime();
    const store = runtime.store();
    declareBase(store, randomBase(model, llamas[0]!, 1));
    const setting = { runtime, store, model, adapters: [], batchSize: 2 };
    const packed = packRows(texts, 12);
    expect(packed).toHaveLength(2);
    const [apart, together] = [
      await evaluate({ ...setting, task: causalLm }, texts),
      await evaluate({ ...setting, task: packedLm }, packed),
    ];
    expect(together.loss).toBeCloseTo(apart.loss, 12);
  });

  it("train from a run file, in fewer rows", async () => {
    const folder = await project();
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--data.pack", "true", ...HOST]);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/data +[23] rows of up to \d+ tokens/);
  });

  it("are refused by tasks that know none", async () => {
    const folder = await project(`task: token-classification\n${RUN.replace("  eval: dev.csv", "")}`);
    const row = { tokens: ["a", "b"], tags: ["x", "y"] };
    writeFileSync(join(folder, "train.jsonl"), `${JSON.stringify(row)}\n`);
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--data.pack", "true", ...HOST]);
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /data\.pack: several texts share a row in causal-lm, masked-lm and sequence-classification only/,
    );
  });
});
