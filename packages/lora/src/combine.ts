/** @file Several LoRAs made into one: weighted sums of their factors or of their updates, pruned and with signs elected. */
import {
  adapt,
  type AnyMethod,
  ConfigError,
  decodeAdapter,
  encodeAdapter,
  type Loaded,
  type Model,
  parseConfig,
  type Rng,
  rngOf,
  type ShapedValues,
} from "@graftml/peft";
import { combineOptions, type Combined } from "./combine-options.ts";
import { type LoraConfig, scaleAt } from "./config.ts";
import { type Matrix, matrix, singular, times, transposed } from "./matrix.ts";

/** Factors of one place: ΔW = s·B·A, and the weight of the adapter they are from. */
interface Term {
  readonly A: Matrix;
  readonly B: Matrix;
  readonly s: number;
  readonly weight: number;
}

/** Factors with s = 1. */
interface Pair {
  readonly A: Matrix;
  readonly B: Matrix;
}

/**
 * One LoRA for several, with weights that may be negative. Places that not all of them adapt are combined from those that do.
 * @throws {ConfigError} for adapters that are no LoRAs, that change more than A and B tell (DoRA, biases), or whose ranks differ
 *   where factors are summed.
 * @see PEFT `add_weighted_adapter`; Yadav et al. 2023, https://arxiv.org/abs/2306.01708 (TIES); Yu et al. 2023,
 * https://arxiv.org/abs/2311.03099 (DARE).
 */
export function combineBy<Batch>(
  method: AnyMethod,
  model: Model<Batch>,
  adapters: readonly Loaded[],
  weights: readonly number[],
  options: Readonly<Record<string, unknown>>,
): Loaded {
  const { how, svd, density, sign, seed } = parseConfig("combine", combineOptions, options);
  if (adapters.length === 0 || adapters.length !== weights.length)
    throw new ConfigError(`combine: ${adapters.length} adapters need as many weights, not ${weights.length}.`);
  if (how === "cat" && svd !== null)
    throw new ConfigError("combine: cat keeps all ranks; for fewer, combine linear with svd.");
  const terms = new Map<string, Term[]>();
  for (const [i, loaded] of adapters.entries())
    for (const [place, term] of termsOf(method, model, loaded, weights[i] ?? NaN))
      terms.set(place, [...(terms.get(place) ?? []), term]);
  const mix = mixer({ how, density, sign });
  const pairs = Array.from(terms, ([place, found]): readonly [string, Pair] => {
    const rng = rngOf(seed, place);
    if (how === "cat") return [place, side(found)];
    return [place, svd === null ? byFactors(place, found, mix, rng) : byUpdates(found, mix, rng, svd)];
  });
  return assembled(method, model, new Map(pairs));
}

/** A place is the stem of its factors' names: "….q_proj.lora_*.weight". */
const stemOf = (name: string): string => name.replace(/(lora_(?:embedding_)?)[AB]/, "$1*");
const factorOf = (stem: string, factor: "A" | "B"): string => stem.replace("*", factor);

function termsOf<Batch>(
  method: AnyMethod,
  model: Model<Batch>,
  loaded: Loaded,
  weight: number,
): readonly (readonly [string, Term])[] {
  const [first, ...others] = loaded.adapter.methods;
  if (first?.name !== method.method.name || others.length > 0)
    throw new ConfigError(
      `combine: ${loaded.adapter.methods.map((m) => m.name).join(" and ")} cannot be combined; only single LoRAs can.`,
    );
  // As files hold it, an adapter has one pair of factors for each place.
  const { adapter, state } = decodeAdapter(encodeAdapter(loaded.adapter, model, loaded.state), model, [method], {
    id: loaded.adapter.id,
  });
  const c = adapter.methods[0]?.config as LoraConfig; // of the method that has just read it
  if (c.dora || c.lora_bias || c.bias !== "none" || adapter.modules.length > 0)
    throw new ConfigError(
      "combine: only A and B can be combined, and these adapters change more: DoRA's lengths, biases, or modules that are saved whole.",
    );
  return adapter.owned.flatMap(({ name, site }) => {
    const own = name.slice(adapter.id.length + 1);
    const stem = stemOf(own);
    const [A, B] = [state.get(own), state.get(factorOf(stem, "B"))];
    if (factorOf(stem, "A") !== own || A === undefined || B === undefined) return [];
    return [[stem, { A: matrixOf(A), B: matrixOf(B), s: scaleAt(c, site), weight }] as const];
  });
}

const matrixOf = ({ shape: [rows = 0, columns = 0], values }: ShapedValues): Matrix =>
  matrix(rows, columns, Float64Array.from(values));

/** Σ wᵢ·sᵢ·BᵢAᵢ as [B₁ B₂ …]·[w₁s₁A₁; w₂s₂A₂; …]. */
function side(terms: readonly Term[]): Pair {
  const rows = (parts: readonly Matrix[]): Matrix =>
    matrix(
      parts.reduce((sum, p) => sum + p.rows, 0),
      parts[0]?.columns ?? 0,
      Float64Array.from(parts.flatMap((p) => [...p.values])),
    );
  return {
    A: rows(
      terms.map(({ A, s, weight }) =>
        matrix(
          A.rows,
          A.columns,
          A.values.map((x) => x * weight * s),
        ),
      ),
    ),
    B: transposed(rows(terms.map(({ B }) => transposed(B)))),
  };
}

/** Combines the As and the Bs, each with the root of what its adapter weighs; a negative weight's sign goes with A. */
function byFactors(place: string, terms: readonly Term[], mix: Mix, rng: Rng): Pair {
  const [{ A, B } = { A: matrix(0, 0), B: matrix(0, 0) }] = terms;
  const odd = terms.find((t) => t.A.rows !== A.rows);
  if (odd !== undefined)
    throw new ConfigError(
      `combine: at ${place} the ranks are ${A.rows} and ${odd.A.rows}, and factors of different ranks cannot be summed. Use cat, or svd.`,
    );
  const roots = terms.map(({ s, weight }) => Math.sqrt(Math.abs(weight * s)));
  const signed = roots.map((root, i) => root * ((terms[i]?.weight ?? 0) * (terms[i]?.s ?? 0) < 0 ? -1 : 1));
  const mixed = (of: "A" | "B", like: Matrix, by: readonly number[]): Matrix =>
    matrix(
      like.rows,
      like.columns,
      mix(
        terms.map((t) => t[of].values),
        by,
        rng,
      ),
    );
  return { A: mixed("A", A, signed), B: mixed("B", B, roots) };
}

/** Combines the updates sᵢ·BᵢAᵢ and takes the result apart again: U·S and Vᵀ of its largest singular values. */
function byUpdates(terms: readonly Term[], mix: Mix, rng: Rng, rank: number): Pair {
  const updates = terms.map(({ A, B, s }) => {
    const product = times(B, A);
    return matrix(
      product.rows,
      product.columns,
      product.values.map((x) => x * s),
    );
  });
  const [{ rows, columns } = matrix(0, 0)] = updates;
  const weights = terms.map((t) => t.weight);
  const mixed = matrix(
    rows,
    columns,
    mix(
      updates.map((u) => u.values),
      weights,
      rng,
    ),
  );
  const { u, s, v } = singular(mixed, Math.min(rank, rows, columns), rng.normal);
  const scaled = matrix(
    u.rows,
    u.columns,
    u.values.map((x, i) => x * (s[Math.floor(i / u.columns)] ?? NaN)),
  );
  return { A: v, B: transposed(scaled) };
}

/** Combines lists of numbers with weights. */
type Mix = (tasks: readonly Float64Array[], weights: readonly number[], rng: Rng) => Float64Array;

const mixer =
  ({ how, density, sign }: Pick<Combined, "how" | "density" | "sign">): Mix =>
  (tasks, weights, rng) => {
    const random = how === "dare_linear" || how === "dare_ties";
    const prunes = density < 1 && how !== "linear";
    const pruned = prunes ? tasks.map((x) => (random ? thinned(x, density, rng) : largest(x, density))) : tasks;
    const elects = how === "ties" || how === "dare_ties";
    return Float64Array.from(pruned[0] ?? [], (_, i) => {
      const values = pruned.map((x) => x[i] ?? NaN);
      const elected = sum(sign === "total" ? values : values.map(Math.sign)) >= 0 ? 1 : -1;
      const counts = values.map((x) => !elects || Math.sign(x) === elected);
      const total = sum(values.map((x, n) => (counts[n] === true ? x * (weights[n] ?? NaN) : 0)));
      return elects ? total / Math.max(1, counts.filter(Boolean).length) : total;
    });
  };

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** The largest numbers by size, zeros for all others. */
function largest(x: Float64Array, density: number): Float64Array {
  const keep = Math.trunc(density * x.length);
  const order = Array.from(x.keys()).sort((i, j) => Math.abs(x[j] ?? NaN) - Math.abs(x[i] ?? NaN));
  const kept = new Float64Array(x.length);
  for (const i of order.slice(0, keep)) kept[i] = x[i] ?? NaN;
  return kept;
}

/** Numbers at random, each with probability `density`, divided by that; zeros for all others. */
const thinned = (x: Float64Array, density: number, rng: Rng): Float64Array =>
  x.map((value) => (rng.uniform() < density ? value / density : 0));

/** A plain LoRA with these factors and s = 1. */
function assembled<Batch>(method: AnyMethod, model: Model<Batch>, pairs: ReadonlyMap<string, Pair>): Loaded {
  const places = Array.from(pairs, ([stem, pair]) => ({
    path: stem.replace(/\.lora_(?:embedding_)?\*.*$/, ""),
    table: stem.includes("embedding_*"),
    rank: pair.A.rows,
  }));
  const [{ rank } = { rank: 1 }] = places;
  const others = places.filter((p) => p.rank !== rank);
  const ranks = Object.fromEntries(others.map((p) => [p.path.replaceAll(".", "\\."), p.rank]));
  const adapter = adapt(
    model,
    [
      method({
        rank,
        alpha: rank,
        rank_pattern: ranks,
        alpha_pattern: ranks,
        target: places.filter((p) => !p.table).map((p) => p.path),
        embeddings: places.some((p) => p.table),
      } as never), // of the method whose adapters these are
    ],
    { modules: [] },
  );
  const state = Array.from(pairs, ([stem, { A, B }]) => [
    [factorOf(stem, "A"), { shape: [A.rows, A.columns], values: A.values }] as const,
    [factorOf(stem, "B"), { shape: [B.rows, B.columns], values: B.values }] as const,
  ]);
  return { adapter, state: new Map(state.flat()) };
}
