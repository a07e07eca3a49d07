/** @file The buckets that training keeps beside the trainable ones: gradients, what the optimizer remembers, rates by block. */
import type { TrainableBucket } from "@graftml/peft";
import { type Declaration, type Shape, sizeOf, type Store } from "@graftml/tensor";
import { BLOCK } from "./optim/chunks.ts";
import type { Memory, Optimizer } from "./optim/optimizer.ts";

/** A trainable bucket [N] and the names of what goes with it. */
export interface TrainedBucket {
  readonly bucket: TrainableBucket;
  /** [N], laid out like the bucket. */
  readonly gradient: string;
  /** In the order of `Optimizer.state`. */
  readonly state: readonly string[];
  /** [N/256, 2]. */
  readonly rates: string;
}

/** Name of a member's gradient, or of what the optimizer remembers of it. */
export const memberName = (of: string, member: string): string => `${of}/${member}`;

const GRADIENTS = "gradients";

/** Name of what gradients are multiplied with, where buckets are updated by programs of their own. */
export const CLIP = "clip";

/** Makes them known to the store, unless they are; nothing is allocated. */
export function declareTraining(
  store: Store,
  trainable: readonly TrainableBucket[],
  optimizer: Optimizer,
): readonly TrainedBucket[] {
  if (!store.has(CLIP)) store.declare(CLIP, { shape: [], dtype: "f32", kind: "gradients" });
  return trainable.map((bucket) => {
    const group = memberName(GRADIENTS, bucket.name);
    const gradient = `${group}#0`; // a group of one bucket's members is one bucket
    const members = bucket.members.map((m) => ({ name: gradientOf(m.name), shape: m.shape }));
    if (!store.has(gradient)) store.group(group, members, "gradients");
    const declare = (name: string, declaration: Omit<Declaration, "kind">): string => {
      if (!store.has(name)) store.declare(name, { ...declaration, kind: "optimizer" });
      return name;
    };
    return {
      bucket,
      gradient,
      state: optimizer.state.map((memory) =>
        declare(memberName(memory.name, bucket.name), { shape: shapeIn(bucket, memory), dtype: memory.dtype }),
      ),
      rates: declare(memberName("rates", bucket.name), {
        shape: [bucket.size / BLOCK, 2],
        dtype: "f32",
        values: () => ratesOf(bucket, {}),
      }),
    };
  });
}

/** Shape of what an optimizer keeps of a bucket. */
export const shapeIn = ({ size }: TrainableBucket, { perBlock }: Memory): Shape => [(size / BLOCK) * perBlock];

/** Frees them and forgets their names. */
export function releaseTraining(store: Store, buckets: readonly TrainedBucket[]): void {
  store.delete(CLIP);
  for (const { gradient, state, rates } of buckets)
    store.delete(gradient.slice(0, gradient.lastIndexOf("#")), ...state, rates);
}

/** Name of the gradient of a trainable parameter. */
export const gradientOf = (member: string): string => memberName(GRADIENTS, member);

/**
 * For every 256 elements, the factor on the learning rate and whether weight decay applies.
 * @param changed factors by name, where they are no longer those they started with.
 */
export function ratesOf({ size, members }: TrainableBucket, changed: Readonly<Record<string, number>>): Float32Array {
  const rates = new Float32Array((size / BLOCK) * 2);
  for (const { name, shape, offset, lrScale, decay } of members)
    for (let block = offset / BLOCK; block < (offset + sizeOf(shape)) / BLOCK; block++)
      rates.set([changed[name] ?? lrScale, decay ? 1 : 0], 2 * block);
  return rates;
}
