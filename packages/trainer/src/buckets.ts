/** @file The buckets that training keeps beside the trainable ones: gradients, what the optimizer remembers, rates by block. */
import type { TrainableBucket } from "@graftml/peft";
import { sizeOf, type Store } from "@graftml/tensor";
import { BLOCK } from "./optim/chunks.ts";
import type { Optimizer } from "./optim/optimizer.ts";

/** A trainable bucket and the names of what goes with it; all have its size and layout but the rates, which are [N/64, 2]. */
export interface TrainedBucket {
  readonly bucket: TrainableBucket;
  readonly gradient: string;
  /** In the order of `Optimizer.state`. */
  readonly state: readonly string[];
  readonly rates: string;
}

/** Name of a member's gradient, or of what the optimizer remembers of it. */
export const memberName = (of: string, member: string): string => `${of}/${member}`;

const GRADIENTS = "gradients";

/** Makes them known to the store, unless they are; nothing is allocated. */
export function declareTraining(
  store: Store,
  trainable: readonly TrainableBucket[],
  optimizer: Optimizer,
): readonly TrainedBucket[] {
  return trainable.map((bucket) => {
    const beside = (of: string, kind: string): string => {
      const group = memberName(of, bucket.name);
      const name = `${group}#0`; // a group of one bucket's members is one bucket
      const members = bucket.members.map((m) => ({ name: memberName(of, m.name), shape: m.shape }));
      if (!store.has(name)) store.group(group, members, kind);
      return name;
    };
    const rates = memberName("rates", bucket.name);
    if (!store.has(rates))
      store.declare(rates, {
        shape: [bucket.size / BLOCK, 2],
        dtype: "f32",
        kind: "optimizer",
        values: () => ratesOf(bucket, {}),
      });
    return {
      bucket,
      gradient: beside(GRADIENTS, "gradients"),
      state: optimizer.state.map((s) => beside(s, "optimizer")),
      rates,
    };
  });
}

/** Frees them and forgets their names. */
export function releaseTraining(store: Store, buckets: readonly TrainedBucket[]): void {
  for (const { gradient, state, rates } of buckets)
    store.delete(...[gradient, ...state].map((name) => name.slice(0, name.lastIndexOf("#"))), rates);
}

/** Name of the gradient of a trainable parameter. */
export const gradientOf = (member: string): string => memberName(GRADIENTS, member);

/**
 * For every 64 elements, the factor on the learning rate and whether weight decay applies: members start at multiples of 64.
 * @param changed factors by name, where they are no longer those they started with.
 */
export function ratesOf({ size, members }: TrainableBucket, changed: Readonly<Record<string, number>>): Float32Array {
  const rates = new Float32Array((size / BLOCK) * 2);
  for (const { name, shape, offset, lrScale, decay } of members)
    for (let block = offset / BLOCK; block < (offset + sizeOf(shape)) / BLOCK; block++)
      rates.set([changed[name] ?? lrScale, decay ? 1 : 0], 2 * block);
  return rates;
}
