/**
 * @file Suite `madx`: is a task that was learned in one language understood in another, once the adapter of the language under
 * it is swapped? @see Pfeiffer et al. 2020 (MAD-X), https://arxiv.org/abs/2005.00052.
 */
import { join } from "node:path";
import { pfeiffer } from "@graftml/adapters";
import { buildModel } from "@graftml/models";
import { adapt, type Loaded } from "@graftml/peft";
import { type DeviceRuntime, deviceRuntime, requestDevice } from "@graftml/tensor";
import { maskedLm, sequenceClassification, tokenClassification } from "@graftml/trainer";
import { fit, judge, pretrained, withHead } from "../fitting.ts";
import { type Language, type Pair, special, tweets, twins } from "../languages.ts";
import { median } from "../measure.ts";
import { randomWeights } from "../random.ts";
import type { Report, Row } from "../report.ts";

const SEEDS = [0, 1, 2];
/** The base: a BERT. */
const [LAYERS, WIDTH, BATCH] = [2, 64, 32] as const;
/** Share of the second language's texts that the base sees: few, as a model of many languages has seen little of most of them. */
const ABROAD = 1 / 16;
/** Steps and rates: of the base, of a language's adapter, of the task's. */
const LESSONS = {
  base: { steps: 4000, lr: 3e-3 },
  language: { steps: 1000, lr: 1e-2 },
  task: { steps: 300, lr: 3e-3 },
} as const;

const masked = maskedLm({ mask: special.mask, special: new Set(Object.values(special)), rate: 0.2, packed: true });
/**
 * Invertible, and nothing in the blocks: what a language has of its own here are its words, and where adapters in blocks are
 * free to make up for them they do so in a way that no other language's do, and the task's adapter does not fit.
 */
const language = pfeiffer({
  invertible: { reduction: 1 },
  leave_out: Array.from({ length: LAYERS }, (_, block) => block),
});
const task = pfeiffer({ size: 16 });

const pairs: Readonly<Record<string, (data: string, seed: number) => Promise<Pair>>> = {
  "English and its twin, 16 words": (data, seed) => twins(data, { vocabulary: 2000, swapped: 16, seed }),
  "Nigerian Pidgin and Hausa": (data) => tweets(data, ["pcm", "hau"], { vocabulary: 2000 }),
};

/**
 * For each pair of languages how often the task's adapter is right: at home, abroad on its own language's adapter, abroad on
 * that of the language there, and beside it one that was trained there. Medians over seeds.
 * @param folder where the data lies, in folders of these names.
 */
export async function madx({ folder }: { readonly folder: string }): Promise<Report> {
  const rows: Row[] = [];
  for (const [name, read] of Object.entries(pairs)) {
    const found: (readonly (readonly [string, number])[])[] = [];
    for (const seed of SEEDS) {
      const runtime = deviceRuntime(await requestDevice());
      found.push(Object.entries(await transferred(runtime, await read(join(folder, "data"), seed), seed)));
      runtime.dispose();
    }
    const middle = (i: number): number => median(found.map((figures) => figures[i]?.[1] ?? NaN));
    rows.push({ name, figures: Object.fromEntries((found[0] ?? []).map(([figure], i) => [figure, middle(i)])) });
  }
  return { suite: "madx (accuracy)", rows };
}

async function transferred(
  runtime: DeviceRuntime,
  { task: kind, vocabulary, languages }: Pair,
  seed: number,
): Promise<Readonly<Record<string, number>>> {
  const config = {
    model_type: "bert",
    vocab_size: vocabulary,
    hidden_size: WIDTH,
    intermediate_size: 2 * WIDTH,
    num_hidden_layers: LAYERS,
    num_attention_heads: 4,
    max_position_embeddings: 48,
    pad_token_id: special.pad,
  };
  const lesson = (of: keyof typeof LESSONS) => ({ batch: BATCH, seed, ...LESSONS[of] });
  const reader = buildModel(config, { task: "masked-lm" });
  const [{ classes, texts }, { texts: others }] = languages;
  const fresh = { runtime, model: reader, base: randomWeights(reader, seed), task: masked };
  const base = await pretrained(fresh, {
    rows: [...texts, ...others.slice(0, ABROAD * others.length)],
    ...lesson("base"),
  });

  const judging = buildModel(config, { task: kind, labels: classes });
  const { base: headed, drawn } = withHead(judging, base, seed);
  const subject = {
    runtime,
    model: judging,
    base: headed,
    task: kind === "token-classification" ? tokenClassification(classes) : sequenceClassification,
  };
  /** What is known of a language, under the task. */
  const learned = async ({ texts }: Language): Promise<Loaded> => {
    const { state } = await fit({ ...fresh, base }, adapt(reader, [language], languageAs), {
      rows: texts,
      ...lesson("language"),
    });
    return { adapter: adapt(judging, [language], { ...languageAs, trainable: false }), state };
  };
  const [home, abroad] = [await learned(languages[0]), await learned(languages[1])];
  const taught = (below: Loaded, { train }: Language): Promise<Loaded> =>
    fit({ ...subject, below: [below] }, adapt(judging, [task], { id: "task", below: [below.adapter], drawn }), {
      rows: train,
      ...lesson("task"),
    });
  const [here, there] = [await taught(home, languages[0]), await taught(abroad, languages[1])];
  const right = async (below: readonly Loaded[], { test }: Language): Promise<number> =>
    (await judge({ ...subject, below }, test, BATCH))["accuracy"] ?? NaN;
  const figures = {
    "at home": await right([home, here], languages[0]),
    "not swapped": await right([home, here], languages[1]),
    swapped: await right([abroad, here], languages[1]),
    "trained there": await right([abroad, there], languages[1]),
  };
  const { "not swapped": before, swapped, "trained there": supervised } = figures;
  return { ...figures, "of the gap": (swapped - before) / (supervised - before) };
}

const languageAs = { id: "language", modules: [] };
