/** @file Parameters of a base and of its adapters, made known to a store. */
import type { Bucket, Declaration, DType, Source, Store } from "@graftml/tensor";
import type { Adapter } from "./adapt.ts";
import { StateError } from "./errors.ts";
import { widenHalf } from "./half.ts";
import { rngOf } from "./init.ts";
import type { NamedValues } from "./interchange.ts";
import type { Base } from "./model.ts";
import type { Owned } from "./scope.ts";
import { checkState, nameWithin } from "./state.ts";

/** A bucket of trainable parameters, with what an optimizer needs to know of each. */
export interface TrainableBucket extends Bucket {
  readonly members: readonly (Bucket["members"][number] & { readonly lrScale: number; readonly decay: boolean })[];
}

/** Type that a base parameter has in the store: vectors are widened, because norms and biases compute in f32. */
export const storedType = (base: Base, name: string): DType => {
  const described = base.describe(name);
  if (described === undefined) throw new StateError(`the base has no parameter ${name}.`);
  return described.dtype === "f16" && described.shape.length < 2 ? "f32" : described.dtype;
};

/** Makes every parameter of a base known to a store. Values are read when the first program that uses them is compiled. */
export function declareBase(store: Store, base: Base): void {
  for (const name of base.names()) {
    const { shape, dtype } = base.describe(name) ?? {};
    if (shape === undefined) throw new StateError(`the base names ${name} but does not describe it.`);
    const stored = storedType(base, name);
    const values =
      stored === dtype ? () => base.pieces?.(name) ?? base.read(name) : async () => inF32(await base.read(name));
    store.declare(name, { shape, dtype: stored, kind: "weights", values });
  }
}

/**
 * Makes an adapter's parameters known to a store: trainable ones side by side in buckets, all others one by one. Values come
 * from `state`, or from each parameter's own start, which depends on seed and name only.
 *
 * @returns the buckets for an optimizer; none for a frozen adapter.
 * @throws {StateError} if `state` is not the state of this adapter.
 */
export function declareAdapter(
  store: Store,
  adapter: Adapter,
  base: Base,
  { seed, state }: { readonly seed: number; readonly state?: NamedValues },
): readonly TrainableBucket[] {
  if (state !== undefined) checkState(adapter, state);
  const start = (owned: Owned) => async (): Promise<Source> => {
    const saved = owned.persist === true ? state?.get(nameWithin(adapter, owned.name))?.values : undefined;
    const source = saved ?? (await owned.init(owned.shape, rngOf(seed, owned.name), base));
    return owned.dtype === "f32" ? inF32(source) : source;
  };
  const trained = adapter.trainable ? adapter.owned.filter((o) => o.trainable) : [];
  for (const owned of adapter.owned)
    if (!trained.includes(owned)) store.declare(owned.name, declarationOf(owned, start(owned)));
  if (trained.length === 0) return [];
  const members = trained.map((o) => ({ name: o.name, shape: o.shape, values: start(o) }));
  const byName = new Map(trained.map((o) => [o.name, o]));
  return store.group(adapter.id, members, "trainable").map((bucket) => ({
    ...bucket,
    members: bucket.members.map((m) => {
      const { lrScale = 1, decay = true } = byName.get(m.name) ?? {};
      return { ...m, lrScale, decay };
    }),
  }));
}

const declarationOf = ({ shape, dtype }: Owned, values: () => Promise<Source>): Declaration => ({
  shape,
  dtype,
  kind: "weights",
  values,
});

/** Half-precision words as numbers; everything else as it is. */
const inF32 = (source: Source): Source => (source instanceof Uint16Array ? widenHalf(source) : source);

/** Values of an adapter's parameters as they are now, by their names within it: what its files hold. */
export async function readState(store: Store, adapter: Adapter): Promise<NamedValues> {
  const state = new Map<
    string,
    { readonly shape: Owned["shape"]; readonly values: Awaited<ReturnType<Store["read"]>> }
  >();
  for (const { name, shape, persist } of adapter.owned)
    if (persist === true) state.set(nameWithin(adapter, name), { shape, values: await store.read(name) });
  return state;
}
