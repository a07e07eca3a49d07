/** Steps of fine-tuning a real encoder against transformers and PEFT: see scripts/golden/encoder_steps.py. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import lora from "@graftml/lora";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { full } from "@graftml/surgical";
import { deviceRuntime, requestDevice, type Runtime, sizeOf } from "@graftml/tensor";
import { encodeJudged, type Example, sequenceClassification, type StepEvent, train } from "@graftml/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstRows } from "../src/data/read.ts";
import type { Columns, Row } from "../src/data/row.ts";

const SHARED = join(import.meta.dirname, "../../../../shared");
const TOLERANCE = 1e-3;
/** A few steps of each case say enough every day; LONG=1 runs all that are recorded. */
const STEPS = process.env["LONG"] === "1" ? 20 : 3;

interface Case {
  readonly name: string;
  readonly task: keyof typeof data;
  readonly labels: number;
  readonly lr: number;
  readonly lora: boolean;
  readonly trainable: number;
  readonly tokens: readonly number[];
  readonly loss: readonly number[];
  readonly grad_norm: readonly number[];
}
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "golden/encoder-steps.json"), "utf8")) as {
  readonly model: string;
  readonly rows: number;
  readonly max_length: number;
  readonly max_grad_norm: number;
  readonly cases: readonly Case[];
};

const pairs = [["text", "pair", "label"]] as const;
const data = {
  sst2: { file: "sst2-sentence/train.tsv", columns: { text: 0, label: 1 }, layouts: [["text", "label"]] },
  rte: { file: "rte/train.tsv", columns: { text: "sentence1", pair: "sentence2", label: "label" }, layouts: pairs },
  stsb: { file: "stsb/sts-train.csv", columns: { text: 5, pair: 6, label: 4 }, layouts: pairs },
} as const satisfies Record<string, { readonly columns: Columns; [key: string]: unknown }>;
const classes: Readonly<Record<string, number>> = { entailment: 0, not_entailment: 1 };

/** What a parameter starts from: a wave whose phase is the sum of its path's characters. */
function start(path: string, size: number, scale: number): Float32Array {
  const phase = Array.from(path).reduce((sum, c) => sum + c.charCodeAt(0), 0);
  return new Float32Array(size).map((_, n) => scale * Math.sin(1.7 * n + phase));
}

/** All linears but the pooler and the head. */
const LINEARS = ["attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.down"];

let runtime: Runtime;
beforeAll(async () => void (runtime = deviceRuntime(await requestDevice())));
afterAll(() => runtime.dispose());

describe("all-MiniLM-L6-v2", () => {
  it.each(golden.cases)(
    "loses what torch loses, step by step: $name",
    async ({ loss, grad_norm, tokens, ...wanted }) => {
      const count = Math.min(STEPS, loss.length);
      const { model, base, tokenizer } = await loadModel(join(SHARED, "models", golden.model), {
        task: "sequence-classification",
        labels: wanted.labels,
      });
      const { file, columns, layouts } = data[wanted.task];
      const read = await firstRows(join(SHARED, "data", file), { columns, layouts }, count * golden.rows);
      const plain = (text: string): readonly number[] => tokenizer!.encode(text, { special: false });
      const encode = ({ text = "", pair, label = "" }: Row): Example =>
        encodeJudged(pair === undefined ? [text] : [text, pair], [classes[String(label)] ?? Number(label)], {
          plain,
          around: tokenizer!.around,
          maxLength: golden.max_length,
        });
      const method = wanted.lora ? lora({ rank: 8, alpha: 16, target: LINEARS }) : full();
      const adapter = adapt(model, [method]);
      const store = runtime.store();
      declareBase(store, base);
      const trainable = declareAdapter(store, adapter, base, { seed: 0 });
      const members = trainable.flatMap((bucket) => bucket.members);
      expect(members.reduce((n, { shape }) => n + sizeOf(shape), 0)).toBe(wanted.trainable);
      for (const { name, shape } of members) {
        const within = name.slice(name.indexOf("layer.")).replace(".weight", "");
        if (name.endsWith("classifier.weight"))
          await store.write(name, start("classifier.weight", sizeOf(shape), 0.02));
        else if (name.endsWith("classifier.bias")) await store.write(name, new Float32Array(sizeOf(shape)));
        else if (name.includes("lora_"))
          await store.write(name, start(within, sizeOf(shape), name.includes("lora_A") ? 0.05 : 0.01));
      }
      const steps: StepEvent[] = [];
      for await (const event of train({
        runtime,
        store,
        model,
        adapters: [adapter],
        trainable,
        task: sequenceClassification,
        rows: read.map(encode),
        batchSize: golden.rows,
        steps: count,
        lr: wanted.lr,
        maxGradNorm: golden.max_grad_norm,
        shuffle: false,
      }))
        if (event.type === "step") steps.push(event);
      const apart = (ours: readonly number[], theirs: readonly number[]): number =>
        Math.max(...ours.map((x, i) => Math.abs(x / theirs[i]! - 1)));
      expect(steps.map((step) => step.tokens)).toEqual(tokens.slice(0, count));
      expect(
        apart(
          steps.map((step) => step.loss),
          loss,
        ),
      ).toBeLessThanOrEqual(TOLERANCE);
      expect(
        apart(
          steps.map((step) => step.gradNorm),
          grad_norm,
        ),
      ).toBeLessThanOrEqual(TOLERANCE);
    },
    600_000,
  );
});
