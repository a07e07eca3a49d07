/** @file The linear layers through which rows are trained, traced and, to fold them away, on the host. */
import {
  type Here,
  type Init,
  kaimingUniform,
  type NamedValues,
  type ShapedValues,
  uniformWithin,
} from "@graftml/peft";
import { linear, type Tensor } from "@graftml/tensor";

/** What an owned layer is besides its input. */
export interface DenseOptions {
  /** Features out. */
  readonly out: number;
  /** Whether it is one for the whole adapter instead of one a site. */
  readonly shared: boolean;
  /** Start of weight and bias; default: torch's, uniform within ±1/√in. */
  readonly init?: Init | undefined;
}

/** An owned layer `name.weight` [out, in], `name.bias` [out]. x [n, in] → x Wᵀ + b [n, out] */
export function dense({ own }: Here, name: string, x: Tensor, { out, shared, init }: DenseOptions): Tensor {
  const features = x.shape.at(-1) ?? 0;
  const weight = own(`${name}.weight`, [out, features], init ?? kaimingUniform, { shared });
  return linear(x, weight, own(`${name}.bias`, [out], init ?? uniformWithin(1 / Math.sqrt(features)), { shared }));
}

/** The same in float64, from saved values under these names; null if they are not there. */
export function denseValues(
  x: ShapedValues,
  saved: NamedValues,
  name: string,
  activation: (y: number) => number = (y) => y,
): ShapedValues | null {
  const weight = saved.get(`${name}.weight`);
  const bias = saved.get(`${name}.bias`);
  if (weight === undefined || bias === undefined) return null;
  const [rows = 0, inner = 0] = x.shape;
  const [out = 0] = weight.shape;
  const y = new Float64Array(rows * out);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < out; j++) {
      let sum = bias.values[j] ?? NaN;
      for (let k = 0; k < inner; k++) sum += (x.values[i * inner + k] ?? NaN) * (weight.values[j * inner + k] ?? NaN);
      y[i * out + j] = activation(sum);
    }
  return { shape: [rows, out], values: y };
}
