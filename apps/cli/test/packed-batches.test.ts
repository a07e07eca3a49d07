import { buildModel, bert, deberta, distilbert, type Family, llamas, randomBase, roberta } from "@graftml/models";
import { adapt, declareAdapter, declareBase, openScope, predict } from "@graftml/peft";
import { full } from "@graftml/surgical";
import { hostRuntime, Trace } from "@graftml/tensor";
import {
  evaluate,
  type Example,
  maskedLm,
  packedSequenceClassification,
  sequenceClassification,
  train,
  type TrainEvent,
} from "@graftml/trainer";
import { describe, expect, it } from "vitest";
import { config as llamaConfig } from "./helpers.ts";

const encoder = {
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 40,
  type_vocab_size: 2,
};
const small = { dim: 16, hidden_dim: 24, n_layers: 2, n_heads: 2, vocab_size: 40, max_position_embeddings: 40 };
const distances = { relative_attention: true, pos_att_type: ["c2p", "p2c"], position_biased_input: false };

const models: readonly (readonly [string, Family, Readonly<Record<string, unknown>>])[] = [
  ["bert", bert, { model_type: "bert", ...encoder }],
  ["roberta", roberta, { model_type: "roberta", ...encoder }],
  ["distilbert", distilbert, { model_type: "distilbert", ...small }],
  ["deberta", deberta, { model_type: "deberta", ...encoder, ...distances }],
  ["llama", llamas[0]!, llamaConfig],
];

/** Texts of 3 to 20 tokens, some of them pairs; none has a token that stands for padding. */
const texts: readonly Example[] = Array.from({ length: 13 }, (_, i) => {
  const ids = Array.from({ length: 3 + ((7 * i) % 18) }, (__, t) => 5 + ((11 * i + 3 * t) % 15));
  return { ids, labels: [i % 2], ...(i % 3 === 0 && { types: ids.map((__, t) => (t > 2 ? 1 : 0)) }) };
});

/** Losses of three steps of full fine-tuning, the norms of their gradients, and figures of all rows after them. */
async function trained(
  family: Family,
  json: Readonly<Record<string, unknown>>,
  task: typeof sequenceClassification,
  rows: readonly Example[],
): Promise<readonly number[]> {
  const runtime = hostRuntime();
  const model = buildModel(json, { task: task.name });
  const store = runtime.store();
  const base = randomBase(model, family, 1);
  declareBase(store, base);
  const adapter = adapt(model, [full({})]);
  const setting = { runtime, store, model, adapters: [adapter], task, batchSize: 5 };
  const trainable = declareAdapter(store, adapter, base, { seed: 0 });
  const events: TrainEvent[] = [];
  for await (const event of train({ ...setting, trainable, rows, steps: 3, lr: 1e-3 })) events.push(event);
  const steps = events.flatMap((event) => (event.type === "step" ? [event.loss, event.gradNorm] : []));
  const { loss, ...figures } = await evaluate(setting, rows);
  return [...steps, loss, ...Object.values(figures)];
}

const expectSame = (packed: readonly number[], apart: readonly number[]): void => {
  expect(packed).toHaveLength(apart.length);
  packed.forEach((figure, i) => expect(Math.abs(figure - apart[i]!)).toBeLessThan(1e-9 * Math.abs(apart[i]!) + 1e-12));
};

describe("a batch whose texts share rows", { timeout: 60_000 }, () => {
  it.each(models)("learns from whole texts what it learns from them apart (%s)", async (_, family, json) => {
    expectSame(
      await trained(family, json, packedSequenceClassification, texts),
      await trained(family, json, sequenceClassification, texts),
    );
  });

  it("learns hidden tokens as it learns them from the texts apart", async () => {
    const [, family, json] = models[0]!;
    const rows = texts.map((text) => ({ ...text, labels: [] }));
    const masking = { mask: 4, special: new Set([0, 1, 2, 3, 4]), rate: 0.4 };
    expectSame(
      await trained(family, json, maskedLm({ ...masking, packed: true }), rows),
      await trained(family, json, maskedLm(masking), rows),
    );
  });

  it("is refused by a model that is not told how many texts there are", () => {
    const model = buildModel(models[0]![2], { task: "sequence-classification" });
    const scope = openScope(new Trace(), [], { train: false, model: model.info });
    expect(() => predict(model, scope, { batch: 2, length: 8, packed: true })).toThrow(/turn packing off/);
  });

  it("has them in as few rows as hold them, the longest first, and knows where each lies", () => {
    const shape = { batch: 2, length: 64, lead: 0, packed: true, texts: 5 };
    const facts = {
      model: buildModel(models[0]![2], { task: "sequence-classification" }).info,
      draw: { seed: 0, epoch: 0, numbers: [0, 1, 2, 3, 4] },
    };
    const { inputs, labels } = packedSequenceClassification.collate(texts.slice(0, 5), shape, facts);
    expect(labels).toBe(5);
    expect(texts.slice(0, 5).map(({ ids }) => ids.length)).toEqual([3, 10, 17, 6, 13]);
    expect(inputs["starts"]).toEqual(Int32Array.of(46, 30, 0, 40, 17));
    expect(inputs["ends"]).toEqual(Int32Array.of(48, 39, 16, 45, 29));
  });
});
