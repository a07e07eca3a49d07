import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layoutsOf } from "../src/data/columns.ts";
import { readRows } from "../src/data/read.ts";
import type { Columns } from "../src/data/row.ts";

const DATA = join(import.meta.dirname, "../../../../shared/data");
type Task = keyof typeof layoutsOf;

/** Files as their authors left them, how a run names their columns, and the rows that their READMEs count. */
const files: readonly (readonly [file: string, task: Task, columns: Columns | undefined, rows: number])[] = [
  ["sst2-glue/train.tsv", "sequence-classification", { text: "sentence", label: "label" }, 67_349],
  ["sst2-sentence/train.tsv", "sequence-classification", { text: 0, label: 1 }, 6920],
  ["cola/train.tsv", "sequence-classification", { text: 3, label: 1 }, 8551],
  ["rte/train.tsv", "sequence-classification", { text: "sentence1", pair: "sentence2", label: "label" }, 2490],
  ["stsb/sts-train.csv", "sequence-classification", { text: 5, pair: 6, label: 4 }, 5749],
  ["stsb/sts-dev.csv", "sequence-classification", { text: 5, pair: 6, label: 4 }, 1500],
  ["wnli/dev.tsv", "sequence-classification", { text: "sentence1", pair: "sentence2", label: "label" }, 71],
  ["xling-afrisenti/hau/train.tsv", "sequence-classification", { text: "tweet", label: "label" }, 14_172],
  ["e2e/trainset.csv", "seq2seq-lm", { source: "mr", target: "ref" }, 42_061],
  ["xling-ud-english-ewt/en_ewt-ud-train.conllu.gz", "token-classification", { tokens: "form", tags: "upos" }, 12_544],
  ["xling-ud-pud/zh_pud-ud-test.conllu", "token-classification", { tokens: "form", tags: "upos" }, 1000],
  ["xling-ud-pud/tr_pud-ud-test.conllu", "masked-lm", undefined, 1000],
  ["xling-xcopa/th/test.th.jsonl", "causal-lm", { text: "premise" }, 500],
  ["instruct/alpaca_zh_demo.json", "causal-lm", { prompt: "instruction", completion: "output" }, 1000],
  ["instruct/kto_en_demo.json", "causal-lm", undefined, 300],
  ["instruct/fastchat_dummy_conversation.json", "causal-lm", { messages: "conversations" }, 500],
  [
    "instruct/self_instruct_user_oriented.jsonl",
    "causal-lm",
    { prompt: "instruction", completion: "motivation_app" },
    252,
  ],
];

describe("data sets as they are found", () => {
  it.each(files)("%s has the rows that its README counts", async (file, task, columns, count) => {
    let [rows, empty] = [0, 0];
    for await (const row of readRows(join(DATA, file), { columns, layouts: layoutsOf[task] })) {
      rows++;
      const { text, source, prompt, tokens, tags, messages } = row;
      if ((text ?? source ?? prompt ?? tokens ?? messages ?? "").length === 0) empty++;
      expect(tags?.length).toBe(tokens?.length);
    }
    expect([rows, empty]).toEqual([count, 0]);
  });
});
