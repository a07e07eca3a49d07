/**
 * @file The sparse change as Hugging Face PEFT holds one: SHiRA, a list of places and their values for each linear.
 * @see PEFT `tuners/shira`; formats recorded from version 0.21.2.
 */
import {
  type Interchange,
  type JsonObject,
  type NamedValues,
  type ShapedValues,
  type Site,
  StateError,
} from "@graftml/peft";
import type { Config } from "./config.ts";

/** What is kept of one weight, and the places in it. */
interface Sparse {
  /** Name of the linear. */
  readonly path: string;
  /** [out, in] */
  readonly shape: readonly [number, number];
  readonly places: readonly number[];
  readonly values: ArrayLike<number>;
}

function sparse(owned: NamedValues): readonly Sparse[] {
  return [...owned].flatMap(([name, { shape, values }]) => {
    if (!name.endsWith(".weight.mask")) return [];
    const places: number[] = [];
    values.forEach((kept: number, i: number) => kept !== 0 && places.push(i));
    const [out = 0, columns = 0] = shape;
    const diff = owned.get(name.replace(/mask$/, "diff"))?.values ?? [];
    return [{ path: name.slice(0, -".weight.mask".length), shape: [out, columns], places, values: diff }];
  });
}

/** PEFT's rank: as many places as a LoRA of that rank has numbers, for every linear. */
const rankOf = (all: readonly Sparse[]): number =>
  all.reduce(
    (rank, { shape: [out, columns], places }) => Math.max(rank, Math.ceil(places.length / (out + columns))),
    1,
  );

export const interchange: Interchange<Config> = {
  peftType: "SHIRA",
  // Not before it is cut down; nor what lies in the token table of a tied head; nor if so much is left in one matrix that
  // PEFT refuses the rank for the smallest.
  holds: (_, { sites }, owned) => {
    if ([...owned].some(([name, { values }]) => name.endsWith(".cut") && values[0] === 0)) return false;
    const all = sparse(owned);
    const rank = rankOf(all);
    const linears = new Set(sites.flatMap((s) => (s.kind === "linear" ? [s.path] : [])));
    return all.every(({ path, shape: [out, columns] }) => linears.has(path) && rank * (out + columns) <= out * columns);
  },
  toConfig: (_, { sites }, owned) => ({
    r: rankOf(sparse(owned)),
    target_modules: sparse(owned).map(({ path }) => path),
    mask_type: "random",
    random_seed: null,
    init_weights: true,
    fan_in_fan_out: sites.some((s) => s.transposed && sparse(owned).some(({ path }) => path === s.path)),
  }),
  fromConfig: ({ target_modules: target }: JsonObject) => ({ mask: "fixed", target }),
  tensors: {
    pack(owned) {
      const all = sparse(owned);
      const rank = rankOf(all);
      return new Map(all.flatMap((one) => entries(one, rank * (one.shape[0] + one.shape[1]))));
    },
    unpack(file, { sites }) {
      const state = new Map<string, ShapedValues>();
      for (const [name, entry] of file) {
        const path = name.replace(/\.shira_(indices|weight)$/, "");
        const [places, values] = [file.get(`${path}.shira_indices`), file.get(`${path}.shira_weight`)];
        const site = sites.find((s) => s.kind === "linear" && s.path === path);
        if (site === undefined || places === undefined || values === undefined || values.shape[0] !== places.shape[1])
          state.set(name, entry); // no such thing: whoever reads the state says so
        else if (name.endsWith("indices"))
          for (const [part, value] of dense(site, places, values)) state.set(part, value);
      }
      return state;
    },
  },
};

/** A sparse change as a matrix, and the mask of its places. @throws {StateError} for a place outside of the matrix. */
function dense(
  { path, out, in: columns }: Site,
  { values: places, shape: [, count = 0] }: ShapedValues,
  { values }: ShapedValues,
): readonly [string, ShapedValues][] {
  const shape = [out, columns];
  const [diff, mask] = [new Float32Array(out * columns), new Float32Array(out * columns)];
  const times = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const [row = -1, column = -1] = [places[i], places[count + i]];
    if (!(row >= 0 && row < out && column >= 0 && column < columns))
      throw new StateError(
        `${path}.shira_indices names the place ${row}, ${column}; its weight is [${out}, ${columns}].`,
      );
    const at = row * columns + column;
    times.set(at, (times.get(at) ?? 0) + 1);
    diff[at] = (diff[at] ?? 0) + (values[i] ?? 0);
    mask[at] = 1;
  }
  // A place that is named again and again without a value is padding, not a number that is trained.
  for (const [at, n] of times) if (n > 1 && diff[at] === 0) mask[at] = 0;
  return [
    [`${path}.weight.diff`, { shape, values: diff }],
    [`${path}.weight.mask`, { shape, values: mask }],
  ];
}

/** Places and values of one linear, padded to `count` with a place that is there already and a value of 0. */
function entries(
  { path, shape: [, columns], places, values }: Sparse,
  count: number,
): readonly [string, ShapedValues][] {
  const padded = Array.from({ length: count }, (_, i) => places[i] ?? places[0] ?? 0);
  const indices = new Float32Array(2 * count);
  padded.forEach((at, i) => {
    indices[i] = Math.floor(at / columns);
    indices[count + i] = at % columns;
  });
  const kept = Float32Array.from(padded, (at, i) => (i < places.length ? (values[at] ?? 0) : 0));
  return [
    [`${path}.shira_indices`, { shape: [2, count], values: indices, whole: true }],
    [`${path}.shira_weight`, { shape: [count], values: kept }],
  ];
}
