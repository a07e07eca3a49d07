/** @file Settings of a run that fit into so much memory: planned one after another, the least change first. */
import { deviceBytes, type MemoryPlan } from "@graftml/tensor";
import { optimizers } from "@graftml/trainer";
import { stringify } from "yaml";
import { paint, table } from "./io.ts";
import { bytes } from "./render.ts";
import type { Run } from "./schema.ts";

/** What of a run file is changed. */
export interface Changes {
  readonly weights?: Run["weights"];
  readonly methods?: Run["methods"];
  readonly data?: Partial<Run["data"]>;
  readonly train?: Partial<Run["train"]>;
}

/** One setting to change, in words and as keys of a run file. */
interface Change {
  readonly name: string;
  readonly value?: string;
  readonly keys: Changes;
}

/** Settings that were planned. */
export interface Candidate {
  /** What differs from the run file, in words; none for the run as it is. */
  readonly settings: readonly string[];
  readonly changes: Changes;
  readonly plan: MemoryPlan;
  readonly total: number;
  readonly fits: boolean;
}

/** Settings in the order in which they were tried, and the ones to take. */
export interface Fit {
  /** Bytes that there are. */
  readonly limit: number;
  readonly candidates: readonly Candidate[];
  /** Null where nothing fits. */
  readonly chosen: Candidate | null;
}

/** Rows are not made shorter than this many tokens. */
const SHORTEST = 64;
/** Optimizers that remember the same in fewer bits. */
const SMALLER: Readonly<Record<string, string>> = { adamw: "adamw_8bit" };
const FOUR_BITS = { name: "quant", type: "nf4", double_quant: true } as const;
const CHECKPOINTS: Change = { name: "checkpoint_activations", keys: { train: { checkpoint_activations: true } } };
/** Comes on top of it. */
const OFFLOADED: Change = { name: "offload_activations", keys: { train: { offload_activations: true } } };

/** A run with some settings changed. */
export const changed = (run: Run, { data, train, ...keys }: Changes): Run => ({
  ...run,
  ...keys,
  data: { ...run.data, ...data },
  train: { ...run.train, ...train },
});

const merged = (changes: readonly Change[]): Changes =>
  changes.reduce<Changes>(
    (all, { keys: { data, train, ...rest } }) => ({
      ...all,
      ...rest,
      ...((all.data ?? data) && { data: { ...all.data, ...data } }),
      ...((all.train ?? train) && { train: { ...all.train, ...train } }),
    }),
    {},
  );

/** What lessens the memory of all but activations, in the order in which it is tried; each comes on top of those before. */
function savings({ weights, methods, data, train }: Run): readonly Change[] {
  const optimizer = SMALLER[train.optimizer];
  const lengths: number[] = [];
  for (let n = data.max_length >> 1; n >= SHORTEST; n >>= 1) lengths.push(n);
  return [
    ...(train.paged_optimizer ? [] : [{ name: "paged_optimizer", keys: { train: { paged_optimizer: true } } }]),
    ...(weights === "f16" ? [] : [{ name: "weights", value: "f16", keys: { weights: "f16" } } as const]),
    { name: FOUR_BITS.name, value: "nf4, double", keys: { methods: [FOUR_BITS, ...methods] } },
    ...(optimizer !== undefined && optimizer in optimizers
      ? [{ name: "optimizer", value: optimizer, keys: { train: { optimizer } } }]
      : []),
    ...lengths.map((n) => ({ name: "max_length", value: String(n), keys: { data: { max_length: n } } })),
  ];
}

/** The same rows of a step in smaller batches, the largest first. */
function batches({ train: { batch_size: size, accumulate } }: Run): readonly (Change & { readonly share: number })[] {
  const rows = size * accumulate;
  const smaller = Array.from({ length: size - 1 }, (_, i) => size - 1 - i).filter((n) => rows % n === 0);
  return smaller.map((n) => ({
    name: "batch_size",
    value: `${n} × accumulate ${rows / n}`,
    keys: { train: { batch_size: n, accumulate: rows / n } },
    share: n / size,
  }));
}

/**
 * Looks for settings that fit. First come those that change no result: recomputed activations, what is kept for them on the
 * host, smaller batches with the same rows in a step, moments that leave the device when they must. Then weights in fewer bits,
 * moments in fewer bits, shorter rows, each with the first three. What saves nothing is left out, and so is what cannot fit
 * whatever its activations take. In the end what is not needed is taken back.
 *
 * @param plan bytes that the run needs with some settings changed; null if they cannot stand together.
 */
export async function findFit(
  run: Run,
  limit: number,
  plan: (changes: Changes) => Promise<MemoryPlan | null>,
): Promise<Fit> {
  const candidates: Candidate[] = [];
  const tried = async (...changes: readonly Change[]): Promise<Candidate | null> => {
    const keys = merged(changes);
    const planned = await plan(keys);
    if (planned === null) return null;
    const total = deviceBytes(planned);
    const settings = changes.map(({ name, value }) => (value === undefined ? name : `${name} ${value}`));
    return { settings, changes: keys, plan: planned, total, fits: total <= limit };
  };
  const end = (chosen: Candidate | null): Fit => ({ limit, candidates, chosen });
  const checkpoints = run.train.checkpoint_activations ? [] : [CHECKPOINTS];

  /** Takes back, one after another, what is not needed for the rest to fit. */
  const settle = async (found: Candidate, changes: readonly Change[], needless: readonly Change[]): Promise<Fit> => {
    let [chosen, kept] = [found, changes];
    for (const change of needless) {
      const rest = kept.filter((other) => other !== change);
      const without = await tried(...rest);
      if (without?.fits !== true) continue;
      [chosen, kept] = [without, rest];
      candidates.push(without);
    }
    return end(chosen);
  };

  const asItIs = await tried();
  if (asItIs === null) return end(null);
  candidates.push(asItIs);
  if (asItIs.fits) return end(asItIs);
  let kept: readonly Change[] = [];
  let least = Infinity;
  for (const saving of [null, ...savings(run)]) {
    const before = kept.filter(({ name }) => name !== saving?.name);
    const here = saving === null ? [] : [...before, saving];
    const changes = [...here, ...checkpoints];
    const recomputed: Candidate | null = changes.length === 0 ? asItIs : await tried(...changes);
    if (recomputed === null || recomputed.total >= least) continue;
    [kept, least] = [here, recomputed.total];
    if (recomputed !== asItIs) candidates.push(recomputed);
    if (recomputed.fits) return settle(recomputed, changes, saving === null ? [] : [...checkpoints, ...before]);
    const offloaded = await tried(...changes, OFFLOADED);
    const saves = offloaded !== null && offloaded.total < recomputed.total;
    const [most, all] = saves ? [offloaded, [...changes, OFFLOADED]] : [recomputed, changes];
    if (saves) candidates.push(offloaded);
    if (most.fits) return settle(most, all, before);
    // Fewer rows save at most their share of the activations.
    const { activations = 0 } = most.plan;
    for (const { share, ...smaller } of batches(run)) {
      if (most.total - activations * (1 - share) > limit) continue;
      const candidate = await tried(...all, smaller);
      if (candidate === null) continue;
      candidates.push(candidate);
      if (candidate.fits) return settle(candidate, [...all, smaller], saves ? [OFFLOADED, ...before] : before);
    }
  }
  return end(null);
}

/** The candidates as a table, and the lines to put into the run file, or that nothing fits. */
export function showFit({ limit, candidates, chosen }: Fit): string {
  const kinds = [...new Set(candidates.flatMap(({ plan }) => Object.keys(plan)))].filter((kind) =>
    candidates.some(({ plan }) => (plan[kind] ?? 0) > 0),
  );
  const rows = candidates.map((c) => [
    c === chosen ? paint("green", "✓", process.stdout) : " ",
    c.settings.length === 0 ? "as it is" : c.settings.join(", "),
    bytes(c.total),
    ...kinds.map((kind) => bytes(c.plan[kind] ?? 0)),
  ]);
  const head = ["", "settings", "total", ...kinds].map((text) => paint("dim", text, process.stdout));
  return `${table([head, ...rows])}\n\n${verdict({ limit, candidates, chosen })}`;
}

function verdict({ limit, candidates, chosen }: Fit): string {
  if (chosen !== null && chosen.settings.length === 0) return `The run fits into ${bytes(limit)} as it is.`;
  if (chosen !== null)
    return `These lines of the run file make it fit into ${bytes(limit)}:\n\n${stringify(chosen.changes).trimEnd()}`;
  const [least] = candidates.toSorted((a, b) => a.total - b.total);
  const { trainable = 0, gradients = 0, optimizer = 0 } = least?.plan ?? {};
  const trained = trainable + gradients + optimizer;
  return (
    `Nothing fits into ${bytes(limit)}: the least that was found takes ${bytes(least?.total ?? 0)}.` +
    (trained > limit / 2
      ? ` ${bytes(trained)} of it are for what is trained: a method that trains less takes less.`
      : "")
  );
}
