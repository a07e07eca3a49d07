/** A small BERT learning from scratch what transformers learns with the same texts and masks: see scripts/golden/masked_lm.py. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildModel, loadTokenizer } from "@graftml/models";
import { adapt, type Base, declareAdapter, declareBase, type JsonObject, sites } from "@graftml/peft";
import { full } from "@graftml/surgical";
import { deviceRuntime, requestDevice, type Shape, sizeOf } from "@graftml/tensor";
import { encodeJudged, maskedLm, type StepEvent, train } from "@graftml/trainer";
import { expect, it } from "vitest";

const SHARED = join(import.meta.dirname, "../../../../shared");
const TOLERANCE = 1e-3;

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "golden/masked-lm.json"), "utf8")) as {
  readonly config: JsonObject;
  readonly rows: number;
  readonly tokens: number;
  readonly texts: number;
  readonly lr: number;
  readonly max_grad_norm: number;
  readonly seed: number;
  readonly parameters: number;
  readonly loss: readonly number[];
  readonly grad_norm: readonly number[];
};

/** Uniform values of deviation 0.02 from a hash of the name and the place; norms one, biases zero. */
function start(name: string, shape: Shape): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  if (name.endsWith("bias")) return values;
  if (name.includes("LayerNorm")) return values.fill(1);
  const phase = Array.from(name).reduce((sum, c) => sum + c.charCodeAt(0), 0);
  return values.map((_, n) => {
    const wave = Math.sin(12.9898 * n + phase) * 43758.5453;
    return (wave - Math.floor(wave) - 0.5) * 0.02 * Math.sqrt(12);
  });
}

it("a small encoder learns masked language modelling from random weights as transformers does", async () => {
  const model = buildModel(golden.config, { task: "masked-lm" });
  const shapes = new Map(sites(model).flatMap((s) => (s.kind === "param" ? [[s.path, s.shape] as const] : [])));
  const base: Base = {
    names: () => shapes.keys(),
    describe: (name) => {
      const shape = shapes.get(name);
      return shape && { shape, dtype: "f32" };
    },
    read: async (name) => start(name, shapes.get(name) ?? []),
  };
  const tokenizer = (await loadTokenizer(join(SHARED, "models/tokenizers/bert-base-uncased")))!;
  const texts = readFileSync(join(SHARED, "data/wikitext2-eval/valid.txt"), "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.length > 200);
  const framing = {
    plain: (text: string) => tokenizer.encode(text, { special: false }),
    around: tokenizer.around,
    maxLength: golden.tokens,
  };
  const runtime = deviceRuntime(await requestDevice());
  const store = runtime.store();
  const adapter = adapt(model, [full()]);
  declareBase(store, base);
  const trainable = declareAdapter(store, adapter, base, { seed: 0 });
  const steps: StepEvent[] = [];
  for await (const event of train({
    runtime,
    store,
    model,
    adapters: [adapter],
    trainable,
    task: maskedLm({ mask: tokenizer.mask!, special: tokenizer.special }),
    rows: texts.slice(0, golden.texts).map((text) => encodeJudged([text], [], framing)),
    batchSize: golden.rows,
    steps: golden.loss.length,
    lr: golden.lr,
    maxGradNorm: golden.max_grad_norm,
    seed: golden.seed,
    shuffle: false,
  }))
    if (event.type === "step") steps.push(event);
  runtime.dispose();
  const members = trainable.flatMap((bucket) => bucket.members);
  expect(members.reduce((n, { shape }) => n + sizeOf(shape), 0)).toBe(golden.parameters);
  const apart = (ours: readonly number[], theirs: readonly number[]): number =>
    Math.max(...ours.map((x, i) => Math.abs(x / theirs[i]! - 1)));
  const losses = steps.map((step) => step.loss);
  expect(apart(losses, golden.loss)).toBeLessThanOrEqual(TOLERANCE);
  expect(
    apart(
      steps.map((step) => step.gradNorm),
      golden.grad_norm,
    ),
  ).toBeLessThanOrEqual(TOLERANCE);
  expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
}, 300_000);
