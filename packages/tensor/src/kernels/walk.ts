/** @file How an operand is walked while the flat index of a loop runs: broadcasting, slices and transpositions alike. */
import { broadcastStrides, type Shape } from "../shape.ts";
import type { Size } from "./wgsl.ts";

/**
 * Axes from the innermost out. At index i the operand is read at `offset` + Σ ((i / step) mod length) · stride, where an
 * axis' step is the product of the lengths inside it. No axes: the same element always.
 */
export interface Walk {
  readonly axes: readonly { readonly length: number; readonly stride: number }[];
  readonly offset: number;
}

/** Walk over axes of these lengths with these strides, outermost first, with neighbours merged where they continue. */
export function walk(lengths: Shape, strides: readonly number[], offset = 0): Walk {
  const axes: { length: number; stride: number }[] = [];
  for (let i = lengths.length - 1; i >= 0; i--) {
    const [length, stride] = [lengths[i] ?? 1, strides[i] ?? 0];
    const inner = axes.at(-1);
    if (length === 1) continue;
    if (inner !== undefined && stride === inner.stride * inner.length) inner.length *= length;
    else axes.push({ length, stride });
  }
  while (axes.at(-1)?.stride === 0) axes.pop();
  return { axes, offset };
}

/** Walk over an operand of shape `from` that broadcasts to `to`. */
export const broadcast = (from: Shape, to: Shape): Walk => walk(to, broadcastStrides(from, to));

/** Walk over n elements in their order. */
export const flat = (n: number): Walk => walk([n], [1]);

/** Whether the operand is read at the loop's own index, over all of its n indices. */
export const isFlat = ({ axes: [axis, ...rest], offset }: Walk, n: number): boolean =>
  offset === 0 && rest.length === 0 && (axis === undefined ? n === 1 : axis.stride === 1 && axis.length === n);

/** How four neighbouring indices find their elements: together in a vector, in one element, or apart. */
export function grain({ axes: [inner, ...outer], offset }: Walk, n: number): "vector" | "splat" | "apart" {
  if (inner === undefined) return "splat";
  const whole = inner.length % 4 === 0 || (outer.length === 0 && inner.length === n);
  if (inner.stride === 0) return whole ? "splat" : "apart";
  return whole && inner.stride === 1 && offset % 4 === 0 && outer.every((a) => a.stride % 4 === 0) ? "vector" : "apart";
}

/**
 * The walk as an expression of `index`, which counts `unit` of the loop's n elements at once; the result counts vectors if
 * `vector`. Lengths and strides become `sizes`, so that one text serves every shape of the same kind.
 */
export function address(
  { axes, offset }: Walk,
  n: number,
  { index, name, unit, vector, sizes }: AddressOptions,
): string {
  const per = vector ? unit : 1;
  const size = (key: string, value: number): string => {
    sizes[`${name}_${key}`] = value;
    return `sizes.${name}_${key}`;
  };
  const terms: string[] = [];
  let step = 1;
  axes.forEach(({ length, stride }, d) => {
    if (stride !== 0) {
      let term = step === 1 ? index : `(${index} / ${size(`step${d}`, step / unit)})`;
      if (step * length < n) term = `(${term} % ${size(`length${d}`, step === 1 ? length / per : length)})`;
      if (stride !== 1) term = `${term} * ${size(`stride${d}`, stride / per)}`;
      terms.push(term);
    }
    step *= length;
  });
  if (offset !== 0) terms.push(size("offset", offset / per));
  return terms.length === 0 ? "0u" : terms.join(" + ");
}

export interface AddressOptions {
  readonly index: string;
  /** Prefix of the fields of `sizes` that the expression needs; they are added to `sizes`. */
  readonly name: string;
  readonly unit: 1 | 4;
  readonly vector: boolean;
  readonly sizes: Record<string, Size>;
}
