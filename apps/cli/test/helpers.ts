/** @file A small project for tests: a model of random weights, data, a run file, and the command line as a process. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildModel, llamas, randomBase, saveModel } from "@graftml/models";
import { onTestFinished } from "vitest";

const MAIN = join(import.meta.dirname, "../src/main.ts");

/** An empty folder that goes when the test is done. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "graft-cli-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files into a folder; returns the folder. */
export function withFiles(files: Readonly<Record<string, string>>, folder = emptyFolder()): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const LETTERS = " \nabcdefghijklmnopqrstuvwxyz".split("");

/** A tokenizer of single letters, with a start and an end token. */
export const tokenizer = {
  version: "1.0",
  added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: null,
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    unk_token: "<unk>",
    merges: [],
    vocab: Object.fromEntries(["<unk>", "<s>", "</s>", ...LETTERS].map((t, i) => [t, i])),
  },
};

export const config = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: LETTERS.length + 3,
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
  initializer_range: 0.3,
  bos_token_id: 1,
  eos_token_id: 2,
};

const rows = ["an apple", "a bee", "the cat sat", "dogs bark", "every egg", "five fish"];

/** The run file of a project; tests append to it. */
export const RUN = `model: model
methods:
  - { name: lora, rank: 2, target: all-linear }
data:
  train: train.jsonl
  eval: dev.csv
train:
  steps: 6
  batch_size: 2
out: out
`;

/** A folder with a model, data and run.yaml. */
export async function project(run = RUN): Promise<string> {
  const folder = withFiles({
    "run.yaml": run,
    "train.jsonl": rows.map((text) => `${JSON.stringify({ text })}\n`).join(""),
    "dev.csv": "text\na gnu\nhot hat\n",
    "tokens/tokenizer.json": JSON.stringify(tokenizer),
    "tokens/tokenizer_config.json": JSON.stringify({ bos_token: "<s>", eos_token: "</s>" }),
  });
  const model = buildModel(config);
  await saveModel(join(folder, "model"), model, randomBase(model, llamas[0]!, 1), {
    companions: join(folder, "tokens"),
  });
  return folder;
}

/** How a command ended. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in a folder. @param watch sees what it has written so far, and may signal it. */
export async function graft(
  folder: string,
  args: readonly string[],
  watch?: (stderr: string, signal: (name: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  const child = spawn(process.execPath, ["--conditions=@graftml/source", MAIN, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1" },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
    watch?.(stderr, (name) => child.kill(name));
  });
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { status, stdout, stderr };
}
