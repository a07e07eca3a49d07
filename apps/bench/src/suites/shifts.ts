/**
 * @file Suite `shifts`: which block is best to train where what enters a model, what it makes of that, or what it answers has
 * changed. @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §3 and §4.
 */
import { buildModel, logitsOf } from "@graftml/models";
import { adapt, type Adapted, type Base, declareBase, type Model, rngOf } from "@graftml/peft";
import { autoRgn, blocks, full } from "@graftml/surgical";
import { deviceRuntime, type DeviceRuntime, requestDevice, type Values } from "@graftml/tensor";
import { causalLm, type Example } from "@graftml/trainer";
import { fit, judge } from "../fitting.ts";
import { gptYardstick } from "../gpt.ts";
import { median } from "../measure.ts";
import { randomWeights } from "../random.ts";
import type { Report, Row } from "../report.ts";

const SIZE = { layers: 3, width: 32, heads: 4, vocabulary: 32, batch: 128, length: 16 } as const;
/** Standard deviation of what is drawn. */
const SPREAD = 0.15;
const SEEDS = [0, 1, 2];
/** Rows to learn from, and to judge by. */
const [TRAINED, HELD_OUT] = [1280, 512] as const;
const TARGET = { batch: SIZE.batch, steps: 100, lr: 3e-3 } as const;
/** What of a block's numbers was there before the shift, and how much of that was other than now. */
const [STRENGTH, SHARE] = [0.15, 0.5] as const;

const shifts = ["of the inputs", "of features", "of the outputs"] as const;

/** What is trained in turn. */
const variants: readonly (readonly [string, Adapted])[] = [
  ...shifts.map((_, block) => [`block ${block}`, blocks({ blocks: [block] })] as const),
  ["full", full()],
  ["rgn, tensors", autoRgn()],
  ["rgn, blocks", autoRgn({ per: "layer" })],
];

/**
 * How far held-out losses are from the least there is, by what is trained, for a shift in each block; and of how many seeds
 * Auto-RGN gives that block the highest rate. Medians over seeds.
 *
 * The world after the shift is a GPT whose numbers are drawn: what it answers is to be learned. The model to train is that GPT
 * with one block as it was before: it did less there, and partly something else. So it was right about the world as it was, and
 * the truth is known to lie in that block.
 */
export async function shifted(): Promise<Report> {
  const model = buildModel({ ...gptYardstick(SIZE).config, initializer_range: SPREAD });
  const found = new Map<string, Record<string, number>[]>(shifts.map((name) => [name, []]));
  for (const seed of SEEDS) {
    const runtime = deviceRuntime(await requestDevice());
    const world = { runtime, model, base: drawn(randomWeights(model, seed), seed), task: causalLm };
    const examples = await answered(runtime, model, world.base, inputs(TRAINED + HELD_OUT, seed), seed);
    const [learned, heldOut] = [examples.slice(0, TRAINED), examples.slice(TRAINED)];
    const { loss: least } = await judge(world, heldOut, SIZE.batch);
    for (const [block, name] of shifts.entries()) {
      const before = { ...world, base: weakened(world.base, block, seed) };
      const figures: Record<string, number> = { untouched: (await judge(before, heldOut, SIZE.batch)).loss - least };
      for (const [variant, method] of variants) {
        const fitted = await fit(before, adapt(model, [method]), { rows: learned, seed, ...TARGET });
        figures[variant] = (await judge({ ...before, below: [fitted] }, heldOut, SIZE.batch)).loss - least;
        if (variant.startsWith("rgn")) figures[`${variant}: finds it`] = Number(highest(fitted.rates) === block);
      }
      found.get(name)?.push(figures);
    }
    runtime.dispose();
  }
  const rows = [...found].map(([name, runs]): Row => {
    const each = (figure: string): readonly number[] => runs.map((run) => run[figure] ?? NaN);
    const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
    const figures = Object.keys(runs[0] ?? {}).map((figure) => {
      const values = each(figure);
      return [figure, figure.endsWith("finds it") ? sum(values) : median(values)] as const;
    });
    return { name, figures: Object.fromEntries(figures) };
  });
  return { suite: "a shift", rows };
}

/** Rows of tokens, all as likely. */
function inputs(count: number, seed: number): readonly (readonly number[])[] {
  const rng = rngOf(seed, "inputs");
  const token = (): number => Math.floor(SIZE.vocabulary * rng.uniform());
  return Array.from({ length: count }, () => Array.from({ length: SIZE.length }, token));
}

/** A base whose biases are drawn too: those of a trained model are not 0, and relative to 0 no gradient is small. */
const drawn = (base: Base, seed: number): Base => ({
  ...base,
  read: async (name) => {
    const values = await base.read(name);
    if (!name.endsWith(".bias") || /\bln_/.test(name)) return values;
    const rng = rngOf(seed, name);
    return Float32Array.from(values, () => SPREAD * rng.normal());
  },
});

/** The base with the numbers of one block, but those of norms, partly others and all smaller. */
const weakened = (base: Base, block: number, seed: number): Base => ({
  ...base,
  read: async (name) => {
    const values = await base.read(name);
    if (!name.startsWith(`transformer.h.${block}.`) || /\bln_/.test(name)) return values;
    const rng = rngOf(seed, `${name} before`);
    const other = (v: number): number => Math.sqrt(1 - SHARE) * v + Math.sqrt(SHARE) * SPREAD * rng.normal();
    return Float32Array.from(values, (v) => STRENGTH * other(v));
  },
});

/** Texts with a model's answers: for every place a token drawn from what it holds likely there. No model then has a lower loss. */
async function answered(
  runtime: DeviceRuntime,
  model: Model,
  base: Base,
  texts: readonly (readonly number[])[],
  seed: number,
): Promise<readonly Example[]> {
  const store = runtime.store();
  declareBase(store, base);
  const rng = rngOf(seed, "answers");
  const logits = await logitsOf({ runtime, store, model }, texts);
  return texts.map((ids, i) => {
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

/** The block whose parameters got the highest rate. */
function highest(rates: Readonly<Record<string, number>>): number {
  const [best = ""] = Object.entries(rates)
    .filter(([name]) => /\.h\.\d+\./.test(name))
    .reduce<readonly [string?, number?]>((a, b) => ((a[1] ?? -1) >= b[1] ? a : b), []);
  return Number(/\.h\.(\d+)\./.exec(best)?.[1] ?? NaN);
}
