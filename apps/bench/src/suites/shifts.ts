/**
 * @file Suite `shifts`: which block is best to train where what enters a model, what it makes of that, or what it answers has
 * changed. @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §3 and §4.
 */
import { buildModel, families, logitsOf, randomBase } from "@graftml/models";
import { adapt, type Adapted, type Base, declareAdapter, declareBase, type Model, rngOf } from "@graftml/peft";
import { autoRgn, blocks, full } from "@graftml/surgical";
import { deviceRuntime, type DeviceRuntime, requestDevice, type Values } from "@graftml/tensor";
import { causalLm, type Checkpoint, type Example, train } from "@graftml/trainer";
import { gptYardstick } from "../gpt.ts";
import type { Report, Row } from "../report.ts";

const SIZE = { layers: 3, width: 32, heads: 4, vocabulary: 32, batch: 128, length: 16 } as const;
/** Rows to learn from: few, as after a shift. */
const [TRAINED, HELD_OUT, STEPS, RATE] = [640, 256, 50, 3e-3] as const;
/** Factor on the weights of the head. */
const SHARPER = 4;
/** How much of a block's weights is drawn anew. */
const SHARE = 0.5;

const shifts = ["of the inputs", "of features", "of the outputs"] as const;

/** What is trained in turn. */
const variants: readonly (readonly [string, Adapted])[] = [
  ...shifts.map((_, block) => [`block ${block}`, blocks({ blocks: [block] })] as const),
  ["full", full()],
  ["rgn, tensors", autoRgn()],
  ["rgn, blocks", autoRgn({ per: "layer" })],
];

/**
 * Held-out losses by what is trained, for a shift in each block. The world after a shift is the model itself with a share of one
 * block's weights drawn anew: what it answers is what the unchanged model is to learn, and the truth is known to lie in that
 * block.
 */
export async function shifted(): Promise<Report> {
  const config = { ...gptYardstick(SIZE).config, initializer_range: 0.3 };
  const model = buildModel(config);
  const family = families.find((f) => f.type === model.info.type);
  if (family === undefined) throw new Error("the yardstick's family is gone.");
  const [base, other] = [sharp(randomBase(model, family, 0)), randomBase(model, family, 1)];
  const rows: Row[] = [];
  for (const [block, shift] of shifts.entries()) {
    const runtime = deviceRuntime(await requestDevice());
    const examples = await labelled(runtime, model, redrawn(base, other, block), TRAINED + HELD_OUT);
    const figures: Record<string, number> = {};
    const ranked: Record<string, number> = {};
    for (const [name, method] of variants) {
      const { loss, rates } = await tuned(runtime, { model, base, method, examples });
      figures[name] = loss;
      if (name.startsWith("rgn")) ranked[`${name}: first`] = highest(rates);
    }
    runtime.dispose();
    rows.push({ name: shift, figures: { ...figures, ...ranked } });
  }
  return { suite: "a shift", rows };
}

/** The base with larger logits: what is drawn from them is less of a lottery, and gradients less noisy. */
const sharp = (base: Base): Base => ({
  ...base,
  read: async (name) => {
    const values = await base.read(name);
    return name === "lm_head.weight" ? Float32Array.from(values, (v) => SHARPER * v) : values;
  },
});

/** The base with a share of one block's matrices taken from another; their lengths stay. */
const redrawn = (base: Base, other: Base, block: number): Base => ({
  ...base,
  read: async (name) => {
    const values = await base.read(name);
    if (!name.startsWith(`transformer.h.${block}.`) || base.describe(name)?.shape.length !== 2) return values;
    const drawn = await other.read(name);
    return Float32Array.from(values, (v, i) => Math.sqrt(1 - SHARE) * v + Math.sqrt(SHARE) * (drawn[i] ?? 0));
  },
});

/**
 * Random rows, and for every place a token drawn from what a model holds likely there: of all models that one then has the
 * lowest loss, so that gradients come of the shift.
 */
async function labelled(runtime: DeviceRuntime, model: Model, base: Base, count: number): Promise<readonly Example[]> {
  const store = runtime.store();
  declareBase(store, base);
  const rng = rngOf(0, "rows of a shift");
  const row = (): readonly number[] =>
    Array.from({ length: SIZE.length }, () => Math.floor(rng.uniform() * SIZE.vocabulary));
  const rows = Array.from({ length: count }, row);
  const logits = await logitsOf({ runtime, store, model }, rows);
  return rows.map((ids, i) => {
    const scores = logits[i] ?? new Float32Array();
    const drawn = ids.map((_, place) =>
      drawFrom(scores.subarray(place * SIZE.vocabulary, (place + 1) * SIZE.vocabulary), rng.uniform()),
    );
    return { ids, labels: [0, ...drawn.slice(0, -1)] }; // a label is what the place before it says
  });
}

/** The token at which the probabilities of these logits add up to more than `u`. */
function drawFrom(logits: Values, u: number): number {
  const weights = Array.from(logits, (x) => Math.exp(x));
  let left = u * weights.reduce((a, b) => a + b, 0);
  const found = weights.findIndex((w) => (left -= w) < 0);
  return found < 0 ? weights.length - 1 : found;
}

/** Trains one method from the unshifted base; rates are the factors that it found, by parameter. */
async function tuned(
  runtime: DeviceRuntime,
  {
    model,
    base,
    method,
    examples,
  }: {
    readonly model: Model;
    readonly base: Base;
    readonly method: Adapted;
    readonly examples: readonly Example[];
  },
): Promise<{ readonly loss: number; readonly rates: Checkpoint["changed"]["lrScale"] }> {
  const store = runtime.store();
  declareBase(store, base);
  const adapter = adapt(model, [method]);
  const trainable = declareAdapter(store, adapter, base, { seed: 0 });
  const rows = examples.slice(0, TRAINED);
  let loss = NaN;
  let rates: Checkpoint["changed"]["lrScale"] | undefined;
  const save = async ({ changed }: Checkpoint): Promise<string> => {
    rates ??= changed.lrScale; // those of the start; every epoch finds its own
    return "";
  };
  const setting = { runtime, store, model, adapters: [adapter], task: causalLm, batchSize: SIZE.batch, trainable };
  const run = { ...setting, rows, heldOut: examples.slice(TRAINED), steps: STEPS, lr: RATE, saveEvery: 1 };
  for await (const event of train({ ...run, checkpoints: { save } })) if (event.type === "eval") loss = event.eval.loss;
  return { loss, rates: rates ?? {} };
}

/** The block whose parameters got the highest rate. */
function highest(rates: Readonly<Record<string, number>>): number {
  const [best = ""] = Object.entries(rates)
    .filter(([name]) => /\.h\.\d+\./.test(name))
    .reduce<readonly [string?, number?]>((a, b) => ((a[1] ?? -1) >= b[1] ? a : b), []);
  return Number(/\.h\.(\d+)\./.exec(best)?.[1] ?? NaN);
}
