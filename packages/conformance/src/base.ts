/** @file Random weights for tiny models, in f32 and in half precision. */
import { type Base, type Model, rngOf, sites, widenHalf } from "@graftml/peft";
import { sizeOf, type Source } from "@graftml/tensor";

/**
 * Weights that let a change anywhere be seen in the logits: gains near 1, all else normal with a deviation of one third.
 * They are numbers that half precision holds exactly; `halves` stores matrices as such.
 */
export function randomBase(model: Model, { halves = false } = {}): Base {
  const params = new Map(sites(model).flatMap((site) => (site.kind === "param" ? [[site.path, site]] : [])));
  const words = (name: string): Uint16Array => {
    const { shape = [], roles = [] } = params.get(name) ?? {};
    const rng = rngOf(0, name);
    const around = roles.includes("norm") && roles.includes("weight") ? 1 : 0;
    return new Uint16Array(sizeOf(shape)).map(() => halfNear(around + rng.normal() / 3));
  };
  return {
    names: () => params.keys(),
    describe: (name) => {
      const shape = params.get(name)?.shape;
      return shape && { shape, dtype: halves && shape.length > 1 ? "f16" : "f32" };
    },
    read: async (name): Promise<Source> => {
      const shape = params.get(name)?.shape ?? [];
      return halves && shape.length > 1 ? words(name) : widenHalf(words(name));
    },
  };
}

/** A half-precision word near x, for 2⁻¹⁴ ≤ |x| < 2¹⁵; 0 for what is nearer to 0. */
function halfNear(x: number): number {
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  if (exponent < -14) return 0;
  const fraction = Math.floor((Math.abs(x) / 2 ** exponent - 1) * 1024);
  return (x < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}
