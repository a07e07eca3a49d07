/** @file Suite `quality`: what storing weights in fewer bits does to the loss of real models, beside bitsandbytes in torch. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import quantMethod, { quantConfig } from "@graftml/quant";
import { type DeviceRuntime, deviceRuntime, requestDevice } from "@graftml/tensor";
import { causalLm, evaluate, type Example } from "@graftml/trainer";
import { askTorch } from "../peers/torch.ts";
import type { Report, Row } from "../report.ts";

/** Language models of four shapes and three vocabularies, all trained on the first of the texts. */
const MODELS = ["stories260K", "TinyStories-656K", "babyllama-tok105", "babyllama-tok361"];
const TEXTS = {
  "its own": "data/tinystories-sample/tinystories_train_head_197k.txt",
  wikitext: "data/wikitext2-eval/valid.txt",
};
const [ROWS, LENGTH, BATCH] = [128, 128, 16] as const;

const FORMS = {
  f32: null,
  nf4: quantConfig({ type: "nf4" }),
  "nf4, double": quantConfig({ type: "nf4", double_quant: true }),
  fp4: quantConfig({ type: "fp4" }),
  int8: quantConfig({ type: "int8" }),
} as const;

/**
 * Held-out losses of the models on both texts in every form, and how far from torch's on what bitsandbytes decodes.
 * @param folder where models and data lie, in folders of these names.
 */
export async function quality({ folder }: { readonly folder: string }): Promise<Report> {
  const rows: Row[] = [];
  for (const name of MODELS)
    for (const [text, file] of Object.entries(TEXTS)) {
      const model = join(folder, "models", name);
      const examples = await examplesOf(model, await readFile(join(folder, file), "utf8"));
      const runtime = deviceRuntime(await requestDevice());
      const losses: Record<string, number> = {};
      for (const form of Object.keys(FORMS) as (keyof typeof FORMS)[])
        // its own keys
        losses[form] = await lossOf(runtime, model, form, examples);
      runtime.dispose();
      const answer = await askTorch("torch_quality.py", { folder: model, rows: examples.map(({ ids }) => ids) });
      const torch = (answer ?? {}) as Readonly<Record<string, number>>; // what the script prints
      const gaps = Object.entries(losses).map(([form, loss]) => Math.abs(loss / (torch[form] ?? NaN) - 1));
      const others = Object.entries(torch).filter(([form]) => !(form in losses));
      rows.push({
        name: `${name}, ${text}`,
        figures: {
          ...losses,
          ...Object.fromEntries(others.map(([form, loss]) => [`torch: ${form}`, loss])),
          ...(answer !== null && { "largest difference": Math.max(...gaps) }),
        },
      });
    }
  return { suite: "quality (loss, nats a token)", rows };
}

/** The first tokens of a text, in rows that begin as the model's texts do. */
async function examplesOf(folder: string, text: string): Promise<readonly Example[]> {
  const { tokenizer } = await loadModel(folder);
  if (tokenizer === null) throw new Error(`${folder} has no tokenizer.`);
  const begin = tokenizer.bos === null ? [] : [tokenizer.bos];
  const each = LENGTH - begin.length;
  // No token is longer than a few characters.
  const all = tokenizer.encode(text.slice(0, 8 * ROWS * LENGTH), { special: false });
  return Array.from({ length: ROWS }, (_, i) => [...begin, ...all.slice(i * each, (i + 1) * each)])
    .filter((ids) => ids.length === LENGTH)
    .map((ids) => ({ ids, labels: ids }));
}

async function lossOf(
  runtime: DeviceRuntime,
  folder: string,
  form: keyof typeof FORMS,
  examples: readonly Example[],
): Promise<number> {
  const { model, base } = await loadModel(folder);
  const config = FORMS[form];
  const store = runtime.store();
  declareBase(store, base);
  const stored = config === null ? [] : [adapt(model, [quantMethod(config)], { id: "base", trainable: false })];
  for (const adapter of stored) declareAdapter(store, adapter, base, { seed: 0 });
  const setting = { runtime, store, model, task: causalLm, batchSize: BATCH, adapters: stored };
  return (await evaluate(setting, examples)).loss;
}
