/**
 * @file Suite `shifts`: which block is best to train where what enters a model, what it makes of that, or what it answers has
 * changed. @see Lee et al. 2023, https://arxiv.org/abs/2210.11466, §3 and §4.
 */
import { buildModel, logitsOf } from "@graftml/models";
import { adapt, type Adapted, type Base, declareBase, type Loaded, type Model, rngOf } from "@graftml/peft";
import { autoRgn, blocks, full } from "@graftml/surgical";
import { deviceRuntime, type DeviceRuntime, requestDevice, type Values } from "@graftml/tensor";
import { causalLm, type Example } from "@graftml/trainer";
import { fit, judge, pretrained } from "../fitting.ts";
import { gptYardstick } from "../gpt.ts";
import { randomWeights } from "../random.ts";
import type { Report, Row } from "../report.ts";

const SIZE = { layers: 3, width: 32, heads: 4, vocabulary: 32, batch: 128, length: 16 } as const;
/** What the model learns first. */
const SOURCE = { batch: SIZE.batch, steps: 300, lr: 1e-2, seed: 0 } as const;
const SOURCE_ROWS = 4096;
/** Rows to learn from afterwards: few, as after a shift. */
const [TRAINED, HELD_OUT] = [640, 256] as const;
const TARGET = { batch: SIZE.batch, steps: 50, lr: 3e-3, seed: 0 } as const;
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
 * Held-out losses by what is trained, for a shift in each block of a model that has learned a language. The world after a shift
 * is that model with a share of one block's weights drawn anew: what it answers is what the unchanged model is to learn, and
 * the truth is known to lie in that block.
 */
export async function shifted(): Promise<Report> {
  const model = buildModel({ ...gptYardstick(SIZE).config, initializer_range: 0.1 });
  const runtime = deviceRuntime(await requestDevice());
  const texts = language(SOURCE_ROWS + HELD_OUT).map((ids) => ({ ids, labels: ids }));
  const fresh = { runtime, model, base: randomWeights(model, 0), task: causalLm };
  const base = await pretrained(fresh, { rows: texts.slice(0, SOURCE_ROWS), ...SOURCE });
  const source = { ...fresh, base };
  const lossOf = async (rows: readonly Example[], below: readonly Loaded[] = []): Promise<number> =>
    (await judge({ ...source, below }, rows, SIZE.batch)).loss;
  const rows: Row[] = [{ name: "none", figures: { untouched: await lossOf(texts.slice(SOURCE_ROWS)) } }];
  for (const [block, name] of shifts.entries()) {
    const examples = await answered(runtime, model, redrawn(base, block), texts.slice(-TRAINED - HELD_OUT));
    const [learned, heldOut] = [examples.slice(0, TRAINED), examples.slice(TRAINED)];
    const figures: Record<string, number> = { untouched: await lossOf(heldOut) };
    const ranked: Record<string, number> = {};
    for (const [variant, method] of variants) {
      const fitted = await fit(source, adapt(model, [method]), { rows: learned, ...TARGET });
      figures[variant] = await lossOf(heldOut, [fitted]);
      if (variant.startsWith("rgn")) ranked[`${variant}: first`] = highest(fitted.rates);
    }
    rows.push({ name, figures: { ...figures, ...ranked } });
  }
  runtime.dispose();
  return { suite: "a shift", rows };
}

/** How many classes the words of the language are of, each as many. */
const CLASSES = 8;

/**
 * Rows of a made-up language: of which class a word is follows four times out of five from the classes of the two before it, and
 * of each class some words are commoner than others.
 */
function language(count: number): readonly (readonly number[])[] {
  const rng = rngOf(0, "a language");
  const below = (n: number): number => Math.floor(n * rng.uniform());
  const follows = Array.from({ length: CLASSES ** 2 }, () => below(CLASSES));
  const each = SIZE.vocabulary / CLASSES;
  const row = (): readonly number[] => {
    let [before, last] = [below(CLASSES), below(CLASSES)];
    return Array.from({ length: SIZE.length }, () => {
      const regular = follows[before * CLASSES + last] ?? 0;
      [before, last] = [last, rng.uniform() < 0.8 ? regular : below(CLASSES)];
      return last * each + Math.floor(each * rng.uniform() ** 3);
    });
  };
  return Array.from({ length: count }, row);
}

/** The base with a share of one block's matrices drawn anew; their lengths stay. */
const redrawn = (base: Base, block: number): Base => ({
  ...base,
  read: async (name) => {
    const values = await base.read(name);
    if (!name.startsWith(`transformer.h.${block}.`) || base.describe(name)?.shape.length !== 2) return values;
    const rng = rngOf(0, `${name} anew`);
    const deviation = Math.hypot(...values) / Math.sqrt(values.length);
    return Float32Array.from(values, (v) => Math.sqrt(1 - SHARE) * v + Math.sqrt(SHARE) * deviation * rng.normal());
  },
});

/**
 * Texts with other answers: for every place a token drawn from what a model holds likely there. Of all models that one then has
 * the lowest loss, so that gradients come of the shift.
 */
async function answered(
  runtime: DeviceRuntime,
  model: Model,
  base: Base,
  texts: readonly Example[],
): Promise<readonly Example[]> {
  const store = runtime.store();
  declareBase(store, base);
  const rng = rngOf(0, "answers");
  const logits = await logitsOf(
    { runtime, store, model },
    texts.map(({ ids }) => ids),
  );
  return texts.map(({ ids }, i) => {
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
