/** MAD-X: adapters of languages under the adapter of a task, from run files, on the f64 interpreter. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildModel, families, randomBase, saveModel } from "@graftml/models";
import { describe, expect, it } from "vitest";
import { emptyFolder, graft, tokenizer, withFiles } from "./helpers.ts";

const host = ["--device", "host"];
const bert = {
  model_type: "bert",
  vocab_size: 32,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 32,
  initializer_range: 0.3,
  pad_token_id: 0,
};

const run = (lines: readonly string[], out: string): string =>
  [...lines, "train: { steps: 3, batch_size: 2, lr: 0.01 }", `out: ${out}`, ""].join("\n");
const language = (out: string): string =>
  run(
    [
      "model: model",
      "task: masked-lm",
      "methods: [{ name: pfeiffer, size: 4, invertible: {} }]",
      `data: { train: ${out}.txt }`,
    ],
    out,
  );
const judging = ["model: model", "task: sequence-classification", "data: { train: task.tsv, eval: task.tsv }"];
const stack = (under: string): string => `adapter: [{ path: ${under}/adapter, frozen: true }, { path: first/adapter }]`;

/** A folder with a BERT, two languages, a task, and runs for all of them. */
async function project(): Promise<string> {
  const folder = withFiles(
    {
      "tokens/tokenizer.json": JSON.stringify({
        ...tokenizer,
        added_tokens: [...tokenizer.added_tokens, { ...tokenizer.added_tokens[0], content: "<mask>", id: 31 }],
      }),
      "tokens/tokenizer_config.json": JSON.stringify({ eos_token: "</s>", mask_token: "<mask>", pad_token: "<unk>" }),
      "english.txt": "a bee and an egg\nthe cat sat\ndogs bark\n",
      "other.txt": "b cff boe bo fhh\nuif dbu tbu\nepht cbsl\n",
      "task.tsv": "text\tlabel\na bee\tgood\nan egg\tbad\nthe cat\tgood\ndogs\tbad\n",
      "english.yaml": language("english"),
      "other.yaml": language("other"),
      "first.yaml": run([...judging, "methods: [{ name: pfeiffer, size: 2 }]"], "first"),
      "task.yaml": run([...judging, stack("english")], "task"),
    },
    emptyFolder(),
  );
  const family = families.find((f) => f.type === "bert")!;
  const model = buildModel(bert, { task: "masked-lm" });
  await saveModel(join(folder, "model"), model, randomBase(model, family, 1), { companions: join(folder, "tokens") });
  return folder;
}
const train = async (folder: string, name: string): Promise<string> => {
  const { status, stderr } = await graft(folder, ["train", `${name}.yaml`, ...host]);
  expect(status, stderr).toBe(0);
  return stderr;
};
const weights = (folder: string, out: string): Buffer =>
  readFileSync(join(folder, out, "adapter/adapter_model.safetensors"));

describe("a language's adapter under a task's", { timeout: 120_000 }, () => {
  it("is trained on masked tokens, stays as it is under the task's, and is swapped for another language's", async () => {
    const folder = await project();
    expect(await train(folder, "english")).toContain("pfeiffer");
    await train(folder, "other");
    expect(weights(folder, "english")).not.toEqual(weights(folder, "other"));
    await train(folder, "first");
    const before = weights(folder, "english");
    expect(await train(folder, "task")).toMatch(/pfeiffer.*frozen.*pfeiffer/);
    expect(weights(folder, "english")).toEqual(before);
    expect(weights(folder, "task")).not.toEqual(weights(folder, "first"));

    const loss = async (under: string): Promise<number> => {
      writeFileSync(join(folder, `${under}-eval.yaml`), run([...judging, stack(under)], "task"));
      const { status, stdout, stderr } = await graft(folder, ["eval", `${under}-eval.yaml`, "--json", ...host]);
      expect(status, stderr).toBe(0);
      return (JSON.parse(stdout) as { readonly adapted: { readonly loss: number } }).adapted.loss;
    };
    const [same, swapped] = [await loss("english"), await loss("other")];
    expect(same).not.toBe(swapped);
  });
});
