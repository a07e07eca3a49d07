/** @file Ranking parameters by their gradients. @see Lee et al. 2023, §4.2; its code, `src/utils.py` of anniesch/surgical-finetuning. */
import type { Between, Changes, Owned, Pause } from "@graftml/peft";

/** What a parameter's gradient is measured by: a number of its values and its gradient on one micro-batch. */
export type Measure = (values: ArrayLike<number>, gradient: ArrayLike<number>, rows: number) => number;

/** How parameters are ranked. */
export interface Ranking {
  readonly measure: Measure;
  /** Micro-batches that a measure is the mean over. */
  readonly batches: number;
  /** What is measured as one: every tensor, or all tensors of a block. */
  readonly per: "tensor" | "layer";
  /** Factors on the learning rate from the mean measures of all groups. */
  readonly rates: (measures: readonly number[]) => readonly number[];
}

/** √Σ x² */
function norm(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += (values[i] ?? 0) ** 2;
  return Math.sqrt(total);
}

/** Relative gradient norm ‖g‖ / ‖θ‖; ∞ for what is still zero, such as the bias of a fresh head. */
export const relativeNorm: Measure = (values, gradient) => norm(gradient) / norm(values);

/** Signal to noise: the mean of g² / (var g + 10⁻⁸), the variance over the first axis (`rows`), unbiased as torch has it. */
export const signalToNoise: Measure = (_, gradient, rows) => {
  const columns = gradient.length / rows;
  const [sums, squares] = [new Float64Array(columns), new Float64Array(columns)];
  for (let i = 0; i < gradient.length; i++) {
    const g = gradient[i] ?? 0;
    sums[i % columns] = (sums[i % columns] ?? 0) + g;
    squares[i % columns] = (squares[i % columns] ?? 0) + g * g;
  }
  let total = 0;
  squares.forEach((square, column) => {
    const spread = Math.max(0, square - (sums[column] ?? 0) ** 2 / rows);
    total += square / (spread / Math.max(1, rows - 1) + 1e-8);
  });
  return total / gradient.length;
};

/** Divided by the largest, so that it becomes 1. What has no finite measure counts as the largest. */
export function relativeToLargest(measures: readonly number[]): readonly number[] {
  const largest = Math.max(...measures.filter((m) => Number.isFinite(m)));
  return measures.map((m) => (Number.isFinite(m) ? m / largest : 1));
}

/** Ranks at the start of every epoch, and starts the optimizer anew. */
export const ranked = (ranking: Ranking): Between => ({
  measures: true,
  due: ({ step, steps, perEpoch }) => step < steps && step % perEpoch === 0,
  act: (pause) => rank(pause, ranking),
});

async function rank(pause: Pause, { measure, batches, per, rates }: Ranking): Promise<Changes> {
  const trained = pause.owned.filter((o) => o.trainable);
  const groups = new Map<string, Owned[]>();
  for (const owned of trained) {
    const group = per === "layer" && owned.site.layer !== null ? `block ${owned.site.layer}` : owned.name;
    groups.set(group, [...(groups.get(group) ?? []), owned]);
  }
  const totals = new Map<string, number>();
  for await (const _ of pause.measure(batches))
    for (const [name, members] of groups) {
      const [values, gradient] = [await joined(members, pause.value), await joined(members, pause.gradient)];
      const rows = members.length === 1 ? (members[0]?.shape[0] ?? 1) : 1;
      totals.set(name, (totals.get(name) ?? 0) + measure(values, gradient, rows) / batches);
    }
  const factors = rates([...totals.values()]);
  const lrScale = new Map(
    [...groups.values()].flatMap((members, i) => members.map((o) => [o, factors[i] ?? 1] as const)),
  );
  return { lrScale, restart: true };
}

/** Values of several parameters one after another. */
async function joined(
  members: readonly Owned[],
  read: (owned: Owned) => Promise<ArrayLike<number>>,
): Promise<ArrayLike<number>> {
  const [only, ...others] = await Promise.all(members.map(read));
  return only === undefined || others.length === 0
    ? (only ?? [])
    : [only, ...others].flatMap((part) => Array.from(part));
}
