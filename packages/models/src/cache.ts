/** @file The key-value cache: an onion layer at attention sites, so that no model and no method knows of it. */
import { type Here, type Layer, openScope, type Owned, zeros } from "@graftml/peft";
import { cast, fill, less, reshape, shift, slice, type Tensor, Trace, updateRows } from "@graftml/tensor";
import { iota } from "./layers.ts";
import { type MixedSetup, mixedLayersIn } from "./logits.ts";

/** A cache for a batch of sequences that are being written. */
export interface Cache {
  /** Its parameters' names begin with it. */
  readonly id: string;
  /** Sequences. */
  readonly batch: number;
  /** Rows for each: tokens, and what a method put before them. */
  readonly rows: number;
  /** Tokens of the texts that an encoder reads; 0 where there is no encoder. */
  readonly source: number;
}

/** Keys and values [B, S, G, E] of every attention whose keys outlast a step, with its adapters' rows among them. */
function parametersOf(setup: MixedSetup, cache: Cache): readonly Owned[] {
  const { batch, source } = cache;
  const { model } = setup;
  const trace = new Trace();
  const layers = [...mixedLayersIn(setup, trace, batch), writing(cache, cast(fill(trace, [batch], 0), "i32"))];
  const scope = openScope(trace, layers, { train: false, model: model.info });
  model.forward(scope, model.inputs(trace, { batch, length: Math.max(1, source), target: 1 }));
  return [...scope.census.owned.values()].filter((o) => o.layer.id === cache.id);
}

/** Makes a cache known to the store, beside those it has already. */
export function openCache(setup: MixedSetup, size: Omit<Cache, "id">): Cache {
  const { store } = setup;
  for (let n = 0; ; n++) {
    const cache = { id: `cache${n}`, ...size };
    const parameters = parametersOf(setup, cache);
    if (parameters.some(({ name }) => store.has(name))) continue;
    for (const { name, shape } of parameters) store.declare(name, { shape, dtype: "f32", kind: "cache" });
    return cache;
  }
}

/** Frees the cache's memory. */
export const closeCache = (setup: MixedSetup, cache: Cache): void =>
  setup.store.delete(...parametersOf(setup, cache).map((p) => p.name));

/**
 * The layer that reads prompts: keys and values are written into the cache from row 0 on, and attention goes on over its
 * own. Those of an encoder are of use to nobody but its own layers; those that a decoder makes of the encoder's work serve
 * every step.
 * @param start of every sequence, i32 [B]: zeros.
 */
export const writing = (cache: Cache, start: Tensor): Layer => ({
  id: cache.id,
  name: "cache",
  adaptation: {
    attention: {
      at: "*",
      wrap: (heads, next, here) => {
        const rows = isCross(here) ? (heads.k.shape[1] ?? 0) : cache.rows;
        if (isCross(here) || heads.causal)
          for (const [part, x] of [
            ["key", heads.k],
            ["value", heads.v],
          ] as const)
            updateRows(cached(here, part, x, rows), x, start);
        return next(heads);
      },
    },
  },
});

/**
 * The layer that writes one token on: its key and value go to row `at` of the cache, and its query sees all rows up to
 * there. Rows that a method puts before tokens are in the cache already, so only the token itself is embedded; and so is
 * the encoder's work, of which nothing is left to do.
 * @param at row of the token in every sequence, i32 [B].
 * @param ids the tokens, i32 [B, 1].
 */
export function continuing(cache: Cache, at: Tensor, ids: Tensor): Layer {
  const { trace } = at.node;
  const seen = less(iota(trace, cache.rows), shift(cast(reshape(at, [cache.batch, 1]), "f32"), 1)); // [B, S]
  return {
    id: cache.id,
    name: "cache",
    adaptation: {
      embedding: {
        at: "*",
        wrap: (given, next) => {
          const embedded = next(given); // [B, T', D]
          return given === ids ? slice(embedded, 1, (embedded.shape[1] ?? 0) - 1, 1) : embedded;
        },
      },
      attention: {
        at: "*",
        wrap: (heads, next, here) => {
          const { k, v } = heads;
          if (isCross(here)) {
            const rows = k.shape[1] ?? 0;
            return next({ ...heads, k: cached(here, "key", k, rows), v: cached(here, "value", v, rows) });
          }
          if (!heads.causal) return next(heads);
          const write = (part: string, x: Tensor): Tensor => updateRows(cached(here, part, x, cache.rows), x, at);
          return next({ ...heads, k: write("key", k), v: write("value", v), mask: seen, causal: false });
        },
      },
    },
  };
}

const isCross = ({ site }: Here): boolean => site.roles.includes("cross");

/** One of the site's caches, for rows like those of x [B, T, G, E]: [B, S, G, E]. */
const cached = (here: Here, part: string, x: Tensor, rows: number): Tensor =>
  here.own(part, x.shape.with(1, rows), zeros, { trainable: false, persist: false });
