import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withFiles } from "../test/helpers.ts";
import { UsageError } from "./errors.ts";
import { parseFlags } from "./flags.ts";
import { parseRun, readRunFile } from "./run-file.ts";
import type { Run } from "./schema.ts";

function parsed(text: string, args: readonly string[] = [], name = "run.yaml"): Run {
  const folder = withFiles({ [name]: text });
  return parseRun(readRunFile(join(folder, name), parseFlags(args).flags));
}

/** The message of a refusal, without the folder. */
function refusal(text: string, args: readonly string[] = []): string {
  const folder = withFiles({ "run.yaml": text });
  try {
    parseRun(readRunFile(join(folder, "run.yaml"), parseFlags(args).flags));
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message.replaceAll(/\S*run\.yaml/g, "run.yaml");
  }
  return "accepted";
}

describe("a run file", () => {
  it("gets the defaults that the contract names", () => {
    const run = parsed("model: m\n");
    expect({ ...run, model: "m" }).toEqual({
      model: "m",
      init: "pretrained",
      weights: "auto",
      model_dropout: "config",
      task: "causal-lm",
      methods: [],
      data: { max_length: 128, shuffle: true, bucket: false, pack: false, metrics: [] },
      train: {
        batch_size: 8,
        accumulate: 1,
        optimizer: "adamw",
        lr: 1e-3,
        betas: [0.9, 0.999],
        eps: 1e-8,
        weight_decay: 0,
        schedule: "constant",
        warmup: 0,
        max_grad_norm: 1,
        seed: 0,
        precision: "f32",
        device_memory: "auto",
        checkpoint_activations: false,
        offload_activations: false,
        paged_optimizer: false,
        eval_every: 0,
        save_every: 0,
      },
    });
  });

  it("has paths relative to itself, and flags' paths relative to the current folder", () => {
    const folder = withFiles({
      "a/run.yaml":
        "model: ../m\nmethods: [{ name: ./mine.ts }, { name: lora }]\nadapter: [{ path: x, frozen: true }]\ndata: { train: [t.jsonl], eval: e.csv }\nout: o\n",
    });
    const run = parseRun(readRunFile(join(folder, "a/run.yaml"), parseFlags(["--data.eval", "here.csv"]).flags));
    expect(run.model).toBe(join(folder, "m"));
    expect(run.methods.map((m) => m.name)).toEqual([join(folder, "a/mine.ts"), "lora"]);
    expect(run.adapter).toEqual([{ path: join(folder, "a/x"), frozen: true, inside: false }]);
    expect(run.data.train).toEqual([join(folder, "a/t.jsonl")]);
    expect(run.data.eval).toBe(join(process.cwd(), "here.csv"));
    expect(run.out).toBe(join(folder, "a/o"));
  });

  it("may be JSON", () => {
    expect(parsed('{ "model": "m", "train": { "lr": 1e-4 } }', [], "run.json").train.lr).toBe(1e-4);
  });

  it("need not be there if flags say all", () => {
    expect(parseRun(readRunFile(undefined, parseFlags(["--model", "m"]).flags)).model).toBe(join(process.cwd(), "m"));
  });

  it.each([
    ["an unknown key", "model: m\ntrain:\n  lrr: 1\n", 'run.yaml:3: train.lrr: unknown key. Did you mean "lr"?'],
    [
      "an unknown key that is near to none",
      "model: m\nzzzzzz: 1\n",
      "run.yaml:2: zzzzzz: unknown key. Known here: model, init, weights, model_dropout, task, methods, adapter, data, train, compare, out, made_with.",
    ],
    ["a text for a number", "model: m\ntrain:\n  lr: fast\n", 'run.yaml:3: train.lr: wants a number; got "fast".'],
    [
      "a fraction for a whole number",
      "model: m\ntrain: { batch_size: 1.5 }\n",
      "run.yaml:2: train.batch_size: wants a whole number; got 1.5.",
    ],
    [
      "a number that is too small",
      "model: m\ntrain: { batch_size: 0 }\n",
      "run.yaml:2: train.batch_size: must be above 0; got 0.",
    ],
    [
      "a number that is too large",
      "model: m\ntrain: { betas: [0.9, 1] }\n",
      "run.yaml:2: train.betas[1]: must be below 1; got 1.",
    ],
    [
      "a word that is none of those known",
      "model: m\ntrain: { schedule: cosin }\n",
      'run.yaml:2: train.schedule: wants constant | linear | cosine; got "cosin". Did you mean "cosine"?',
    ],
    ["a missing key", "out: o\n", "run.yaml:1: model: wants a text; it is missing."],
    [
      "a value of no alternative",
      "model: m\nmodel_dropout: some\n",
      'run.yaml:2: model_dropout: wants "config", or a number; got "some".',
    ],
    [
      "a size in no unit",
      "model: m\ntrain: { device_memory: 2 apples }\n",
      'run.yaml:2: train.device_memory: wants auto, a number of bytes, or a size such as "2GB"; got "2 apples".',
    ],
    [
      "a method without a name",
      "model: m\nmethods:\n  - rank: 2\n",
      "run.yaml:3: methods[0].name: wants a text; it is missing.",
    ],
    [
      "an adapter's unknown key",
      "model: m\nadapter: [{ path: a, froze: true }]\n",
      'run.yaml:2: adapter[0].froze: unknown key. Did you mean "frozen"?',
    ],
    [
      "steps and epochs",
      "model: m\ntrain: { steps: 3, epochs: 1 }\n",
      "run.yaml:2: train.steps and train.epochs are both given; keep one.",
    ],
    [
      "activations to offload that are not recomputed",
      "model: m\ntrain:\n  offload_activations: true\n",
      "run.yaml:3: train.offload_activations takes to the host what recomputed blocks are given; it needs train.checkpoint_activations: true.",
    ],
    [
      "columns that make no row",
      "model: m\ndata:\n  columns: { prompt: p }\n",
      "run.yaml:3: data.columns names prompt; wants one of: text; prompt and completion; messages.",
    ],
    ["a key twice", "model: m\nmodel: n\n", "run.yaml:2: Map keys must be unique"],
    [
      "broken YAML",
      "model: [m\n",
      "run.yaml:2: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    ["a list", "- model\n", "run.yaml: a run file is a map of keys (model, methods, data, train, out), not a list."],
  ])("is refused for %s, with its line", (_, text, message) => {
    expect(refusal(text)).toBe(message);
  });

  it("is refused for a flag by the flag's name", () => {
    expect(refusal("model: m\n", ["--train.lrr", "1"])).toBe('--train.lrr: unknown key. Did you mean "lr"?');
    expect(refusal("model: m\n", ["--train.lr", "fast"])).toBe('--train.lr: wants a number; got "fast".');
  });

  it("is refused with all of its problems at once", () => {
    expect(refusal("model: 3\ntrain: { lr: x, stepz: 1 }\n").split("\n")).toHaveLength(3);
  });

  it("is refused if it is not there", () => {
    expect(() => readRunFile("nowhere.yaml", [])).toThrow("there is no run file nowhere.yaml.");
  });
});
