/** @file The key-value cache: an onion layer at attention sites, so that no model and no method knows of it. */
import { type Here, type Layer, type Model, sites, zeros } from "@graftml/peft";
import { cast, less, reshape, shift, slice, type Shape, type Store, type Tensor, updateRows } from "@graftml/tensor";
import { iota } from "./layers.ts";

/** A cache for a batch of sequences. */
export interface Cache {
  /** Its parameters' names begin with it. */
  readonly id: string;
  /** Sequences. */
  readonly batch: number;
  /** Rows for each: tokens, and what a method put before them. */
  readonly rows: number;
}

/** Names and shapes of a cache's parameters: keys and values of every attention site, [B, S, G, E]. */
const parametersOf = (
  model: Model,
  { id, batch, rows }: Cache,
): readonly { readonly name: string; readonly shape: Shape }[] =>
  sites(model)
    .filter((s) => s.kind === "attention")
    .flatMap(({ path, in: width, out: heads }) =>
      ["key", "value"].map((part) => ({ name: `${id}/${path}.${part}`, shape: [batch, rows, heads, width] })),
    );

/** Makes a cache known to a store, beside those it has already. */
export function openCache(store: Store, model: Model, batch: number, rows: number): Cache {
  for (let n = 0; ; n++) {
    const cache = { id: `cache${n}`, batch, rows };
    const parameters = parametersOf(model, cache);
    if (parameters.some(({ name }) => store.has(name))) continue;
    for (const { name, shape } of parameters) store.declare(name, { shape, dtype: "f32", kind: "cache" });
    return cache;
  }
}

/** Frees the cache's memory. */
export const closeCache = (store: Store, model: Model, cache: Cache): void =>
  store.delete(...parametersOf(model, cache).map((p) => p.name));

/**
 * The layer that reads the prompt: keys and values are written into the cache from row 0 on, and attention goes on over
 * the prompt's own.
 * @param start of every sequence, i32 [B]: zeros.
 */
export const writing = (cache: Cache, start: Tensor): Layer => ({
  id: cache.id,
  name: "cache",
  adaptation: {
    attention: {
      at: "*",
      wrap: (heads, next, here) => {
        write(cache, here, "key", heads.k, start);
        write(cache, here, "value", heads.v, start);
        return next(heads);
      },
    },
  },
});

/**
 * The layer that writes one token on: its key and value go to row `at` of the cache, and its query sees all rows up to
 * there. Rows that a method puts before tokens are in the cache already, so only the token itself is embedded.
 * @param at row of the token in every sequence, i32 [B].
 */
export function continuing(cache: Cache, at: Tensor): Layer {
  const { trace } = at.node;
  const seen = less(iota(trace, cache.rows), shift(cast(reshape(at, [cache.batch, 1]), "f32"), 1)); // [B, S]
  return {
    id: cache.id,
    name: "cache",
    adaptation: {
      embedding: {
        at: "*",
        wrap: (ids, next) => {
          const [, T = 0] = ids.shape;
          const embedded = next(ids); // [B, T', D]
          return slice(embedded, 1, (embedded.shape[1] ?? 0) - T, T);
        },
      },
      attention: {
        at: "*",
        wrap: ({ q, k, v }, next, here) =>
          next({
            q,
            k: write(cache, here, "key", k, at),
            v: write(cache, here, "value", v, at),
            mask: seen,
            causal: false,
          }),
      },
    },
  };
}

/** Puts x [B, T, G, E] into one of the site's caches, from row `start` on; returns the whole cache. [B, S, G, E] */
function write({ batch, rows }: Cache, here: Here, part: string, x: Tensor, start: Tensor): Tensor {
  const all = here.own(part, [batch, rows, ...x.shape.slice(2)], zeros, { trainable: false, persist: false });
  return updateRows(all, x, start);
}
