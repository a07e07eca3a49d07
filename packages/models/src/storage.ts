/** @file How frozen weights are stored on the device. */
import { type Base, StateError, widenHalf } from "@graftml/peft";
import type { DType, Source } from "@graftml/tensor";
import { HALF_LIMIT, narrowHalf } from "./half.ts";

/** Storage of frozen weights: as the file has them (bfloat16 as f32), or all matrices in one type. */
export type Storage = "auto" | "f32" | "f16";

/**
 * The same weights with every matrix stored as told; vectors are f32 always, because norms and biases compute in it.
 * @throws {StateError} from `read`, naming a weight that f16 cannot hold.
 */
export function storedAs(base: Base, storage: Storage): Base {
  if (storage === "auto") return base;
  const typeOf = (rank: number): DType => (rank > 1 ? storage : "f32");
  const rankOf = (name: string): number => base.describe(name)?.shape.length ?? 0;
  const stored = (name: string, values: Source): Source => {
    if (typeOf(rankOf(name)) === "f32") return values instanceof Uint16Array ? widenHalf(values) : values;
    if (values instanceof Uint16Array) return values;
    const { words, overflow } = narrowHalf(values instanceof Float32Array ? values : Float32Array.from(values));
    if (overflow >= 0)
      throw new StateError(
        `${name} holds ${values[overflow]}, which f16 cannot: it ends below ${HALF_LIMIT}. Store the weights as f32 (weights: f32).`,
      );
    return words;
  };
  async function* each(name: string, pieces: AsyncIterable<Source>): AsyncGenerator<Source> {
    for await (const piece of pieces) yield stored(name, piece);
  }
  return {
    names: () => base.names(),
    describe: (name) => {
      const known = base.describe(name);
      return known && { shape: known.shape, dtype: typeOf(known.shape.length) };
    },
    read: async (name) => stored(name, await base.read(name)),
    pieces: (name) => {
      const pieces = base.pieces?.(name) ?? null;
      return pieces && each(name, pieces);
    },
  };
}
