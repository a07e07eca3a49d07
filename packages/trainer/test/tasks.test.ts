import { describe, expect, it } from "vitest";
import {
  encodeJudged,
  encodeWords,
  evaluate,
  type Example,
  imageClassification,
  maskedLm,
  seq2seqLm,
  sequenceClassification,
  tokenClassification,
  train,
} from "../src/index.ts";
import { readyToJudge } from "./classifying.ts";
import { toy } from "./toy.ts";

const shape = { batch: 2, length: 4, lead: 0 } as const;
const drawn = (numbers: readonly number[], epoch = 0, seed = 0) => ({
  model: toy.info,
  draw: { seed, epoch, numbers },
});
const list = (values: unknown): readonly number[] => [...(values as Iterable<number>)];

describe("masked language modelling", () => {
  const task = maskedLm({ mask: 10, special: new Set([0, 1]) });
  const long: Example = { ids: [0, ...Array.from({ length: 4000 }, (_, i) => 2 + (i % 8)), 1], labels: [] };
  const wide = { ...shape, length: 4002 };
  const hidden = (numbers: readonly number[], epoch = 0, seed = 0) => {
    const { inputs, labels } = task.collate([long], wide, drawn(numbers, epoch, seed));
    return { ids: list(inputs["ids"]).slice(0, 4002), labels: list(inputs["labels"]).slice(0, 4002), counted: labels };
  };

  it("predicts 15 % of the tokens: 80 % of them hidden, 10 % random, 10 % as they are", () => {
    const { ids, labels, counted } = hidden([0]);
    const chosen = labels.flatMap((label, t) => (label === -100 ? [] : [{ label, id: ids[t]! }]));
    expect(counted).toBe(chosen.length);
    expect(Math.abs(chosen.length / 4000 - 0.15)).toBeLessThan(0.02); // 3.5 standard deviations
    expect(Math.abs(chosen.filter(({ id }) => id === 10).length / chosen.length - 0.8 - 0.1 / 11)).toBeLessThan(0.06);
    const kept = chosen.filter(({ id, label }) => id === label).length / chosen.length;
    expect(Math.abs(kept - 0.1 - 0.1 / 11)).toBeLessThan(0.045);
  });

  it("never hides a special token, and leaves all others as they are", () => {
    const { ids, labels } = hidden([0]);
    expect([labels[0], labels[4001]]).toEqual([-100, -100]);
    labels.forEach((label, t) => expect(label === -100 ? ids[t] : label).toBe(long.ids[t]));
  });

  it("draws by seed, epoch and the row's number, and by nothing else", () => {
    expect(hidden([3])).toEqual(hidden([3]));
    const beside = task.collate([{ ids: [2], labels: [] }, long], wide, drawn([8, 3]));
    expect(list(beside.inputs["labels"]).slice(4002)).toEqual(hidden([3]).labels);
    for (const other of [hidden([4]), hidden([3], 1), hidden([3], 0, 1)])
      expect(other.labels).not.toEqual(hidden([3]).labels);
  });

  it("takes rows that bring their labels as they are", () => {
    const { inputs, labels } = task.collate([{ ids: [0, 10, 5], labels: [-100, 4, -100] }], shape, drawn([0]));
    expect(list(inputs["ids"])).toEqual([0, 10, 5, 0, 0, 0, 0, 0]);
    expect(list(inputs["labels"]).slice(0, 4)).toEqual([-100, 4, -100, -100]);
    expect(labels).toBe(1);
  });

  it("refuses a row of special tokens only", () => {
    expect(() =>
      task.check({ ids: [0, 1], labels: [] }, "row 4", { model: toy.info, lead: 0, room: toy.info.maxLength }),
    ).toThrow(/row 4 has no token that could be hidden/);
  });
});

describe("sequence-to-sequence language modelling", () => {
  const model = { ...toy.info, decoderStart: 9 };

  it("lets the decoder read each label one late, behind the start token", () => {
    const rows = [
      { ids: [1, 2, 3], labels: [4, 5] },
      { ids: [6], labels: [7, 8, 1] },
    ];
    const { inputs, labels, tokens } = seq2seqLm.collate(
      rows,
      { ...shape, target: 3 },
      { model, draw: drawn([0, 1]).draw },
    );
    expect(list(inputs["ids"])).toEqual([1, 2, 3, 0, 6, 0, 0, 0]);
    expect(list(inputs["mask"])).toEqual([1, 1, 1, 0, 1, 0, 0, 0]);
    expect(list(inputs["decoder_ids"])).toEqual([9, 4, 5, 9, 7, 8]);
    expect(list(inputs["labels"])).toEqual([4, 5, -100, 7, 8, 1]);
    expect([labels, tokens]).toEqual([5, 9]);
    expect(seq2seqLm.size(rows[0]!)).toEqual({ length: 3, target: 2 });
  });

  it("is refused by a model without a decoder behind an encoder", () => {
    expect(() =>
      seq2seqLm.check({ ids: [1], labels: [2] }, "row 0", { model: toy.info, lead: 0, room: toy.info.maxLength }),
    ).toThrow(/ToyForCausalLM has no decoder/);
  });
});

/** Trains until done; returns the evaluation after it. */
async function judged(
  ready: ReturnType<typeof readyToJudge>,
  task: Parameters<typeof train>[0]["task"],
  rows: readonly Example[],
) {
  const setting = { ...ready, task, batchSize: 3 };
  for await (const event of train({ ...setting, rows, steps: 300, lr: 0.05 })) void event;
  return evaluate(setting, rows);
}

describe("sequence classification", () => {
  const rows = Array.from({ length: 6 }, (_, i) => ({
    ids: [i, 3, 1].slice(0, 1 + (i % 3)),
    labels: [i >> 1],
  }));

  it("learns classes, and reports them over the whole set", async () => {
    const figures = await judged(readyToJudge("sequence-classification", 3), sequenceClassification, rows);
    expect(figures).toMatchObject({ accuracy: 1, macro_f1: 1, matthews: 1 });
  });

  it("is a mean over examples, wherever batches end", async () => {
    const setting = { ...readyToJudge("sequence-classification", 3), task: sequenceClassification };
    const [one, all] = [
      await evaluate({ ...setting, batchSize: 1 }, rows),
      await evaluate({ ...setting, batchSize: 5 }, rows),
    ];
    expect(one.loss).toBeCloseTo(all.loss, 12);
    expect(one).toEqual({ ...all, loss: one.loss });
  });

  it("learns all classes that a text has, each by itself", async () => {
    const several = rows.map((row, i) => ({ ...row, labels: [Math.cos(13.6 * i) > 0, i < 3, false].map(Number) }));
    const ready = readyToJudge("sequence-classification", 3);
    const config = { ...ready.model.info.config, problem_type: "multi_label_classification" };
    const setting = { ...ready, model: { ...ready.model, info: { ...ready.model.info, config } } };
    const [one, all] = [
      await evaluate({ ...setting, task: sequenceClassification, batchSize: 1 }, several),
      await evaluate({ ...setting, task: sequenceClassification, batchSize: 5 }, several),
    ];
    expect(one.loss).toBeCloseTo(all.loss, 12);
    const figures = await judged(setting, sequenceClassification, several);
    expect(figures.loss).toBeLessThan(0.5 * all.loss);
    expect(Object.keys(figures)).toEqual(["loss", "accuracy", "micro_f1", "macro_f1"]);
    const facts = { model: setting.model.info, lead: 0, room: 8 };
    expect(() => sequenceClassification.check({ ids: [1], labels: [1, 0], origin: "a:1" }, "row 0", facts)).toThrow(
      /row 0 \(a:1\) has the labels 1 0; it must have a 0 or a 1 for each of 3 classes/,
    );
  });

  it("is regression with one output: the mean squared error", async () => {
    // The toy's embeddings lie on a circle, of which this is one axis.
    const scored = rows.map((row, i) => ({ ...row, labels: [Math.cos(13.6 * i)] }));
    const setting = readyToJudge("sequence-classification", 1);
    const before = await evaluate({ ...setting, task: sequenceClassification, batchSize: 3 }, scored);
    const after = await judged(setting, sequenceClassification, scored);
    expect(after.loss).toBeLessThan(0.1 * before.loss);
    expect(after["pearson"]).toBeGreaterThan(0.95);
    expect(after["spearman"]).toBeGreaterThan(0.95);
  });

  it("refuses a class that the head does not have, naming the row", () => {
    const facts = { model: { ...toy.info, labels: 2 }, lead: 0, room: toy.info.maxLength };
    expect(() => sequenceClassification.check({ ids: [1], labels: [2], origin: "a.tsv:3" }, "row 2", facts)).toThrow(
      /row 2 \(a\.tsv:3\) has the label 2; the classes of this model are 0 … 1/,
    );
  });
});

describe("token classification", () => {
  const rows = Array.from({ length: 6 }, (_, i) => {
    const ids = [i % 4, (i + 1) % 4, (i + 2) % 4].slice(0, 2 + (i % 2));
    return { ids, labels: ids.map((id, t) => (t === 0 ? -100 : Math.floor(id / 2))) };
  });

  it("learns a class for every word, and reports words and spans", async () => {
    const task = tokenClassification(["O", "B-X", "I-X"]);
    expect(await judged(readyToJudge("token-classification", 3), task, rows)).toMatchObject({ accuracy: 1, f1: 1 });
  });

  it("reports no spans where classes are no tags", async () => {
    const setting = { ...readyToJudge("token-classification", 3), task: tokenClassification(["A", "B", "C"]) };
    expect(Object.keys(await evaluate({ ...setting, batchSize: 2 }, rows))).toEqual(["loss", "accuracy"]);
  });
});

describe("image classification", () => {
  const image = (value: number) => ({
    pixels: new Float32Array(3).fill(value),
    shape: [3, 1, 1] as const,
    labels: [1] as const,
  });

  it("lays images side by side, and counts those there are", () => {
    const { inputs, labels } = imageClassification.collate([image(0.5)], shape, drawn([0]));
    expect(list(inputs["pixels"])).toEqual([0.5, 0.5, 0.5, 0, 0, 0]);
    expect(list(inputs["labels"])).toEqual([1, -100]);
    expect(labels).toBe(1);
  });
});

describe("encoding what is to be judged", () => {
  /** A token a letter, "[CLS] a [SEP] b [SEP]" around it. */
  const framing = {
    plain: (text: string) => Array.from(text.replaceAll(" ", ""), (c) => c.charCodeAt(0)),
    around: (texts: readonly (readonly number[])[], longest: number) => {
      const room = longest - 1 - texts.length;
      const kept = texts.map((ids) => ids.slice(0, Math.floor(room / texts.length)));
      const [first = [], second] = kept;
      const ids = [1, ...first, 2, ...(second === undefined ? [] : [...second, 2])];
      const types = ids.map((_, t) => (t < first.length + 2 ? 0 : 1));
      return { ids, types, spans: [[1, 1 + first.length]] as const };
    },
    maxLength: 10,
    origin: "line 5",
  };
  const code = (text: string): readonly number[] => framing.plain(text);

  it("tells the two texts of a pair apart", () => {
    expect(encodeJudged(["ab", "c"], [1], framing)).toEqual({
      ids: [1, ...code("ab"), 2, ...code("c"), 2],
      types: [0, 0, 0, 0, 1, 1],
      labels: [1],
      origin: "line 5",
    });
  });

  it("labels the first piece of every word, and nothing else", () => {
    const { ids, labels } = encodeWords(["ab", "", "c"], [5, 6, 7], framing);
    expect(ids).toEqual([1, ...code("abc"), 2]);
    expect(labels).toEqual([-100, 5, -100, 7, -100]);
  });

  it("leaves out the words that were cut off", () => {
    const { labels } = encodeWords(["abc", "def", "ghi", "jkl"], [1, 2, 3, 4], framing);
    expect(labels).toEqual([-100, 1, -100, -100, 2, -100, -100, 3, -100, -100]);
  });
});
