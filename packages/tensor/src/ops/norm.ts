/** @file Root-mean-square and layer normalisation over the last axis. */

import { ShapeError } from "../errors.ts";
import { layerNormGradLowering, layerNormLowering, rmsNormGradLowering, rmsNormLowering } from "../kernels/norm.ts";
import { type Aval, show, sizeOf } from "../shape.ts";
import { apply, applyAll, type Tensor } from "../tensor.ts";
import { mul, sub } from "./elementwise.ts";
import { reshape } from "./layout.ts";
import type { Op } from "./op.ts";
import { sumTo } from "./reduce.ts";

export interface NormAttrs {
  readonly eps: number;
}

/** Rows and width of a tensor normalised over its last axis. */
function rowsOf({ shape }: Aval): { rows: number; width: number } {
  const width = shape.at(-1) ?? 1;
  return { rows: sizeOf(shape) / width, width };
}

function checkNorm(name: string, x: Aval, ...parameters: readonly Aval[]): void {
  const { width } = rowsOf(x);
  for (const p of parameters)
    if (p.shape.length !== 1 || p.shape[0] !== width)
      throw new ShapeError(`${name}: x ${show(x.shape)} has width ${width}, the parameter is ${show(p.shape)}.`);
}
const statistics = (x: Aval): Aval => ({ shape: x.shape.slice(0, -1), dtype: "f32" });
/** A statistic [...] of rows [..., D] as an operand that broadcasts over them. */
const column = (s: Tensor): Tensor => reshape(s, [...s.shape, 1]);

const rmsNormOp: Op<NormAttrs> = {
  name: "rmsNorm",
  infer([x, g]) {
    checkNorm("rmsNorm", x!, g!);
    return [{ shape: x!.shape, dtype: "f32" }, statistics(x!)];
  },
  reference([x, g], { attrs: { eps }, inputs: [aval] }) {
    const { rows, width } = rowsOf(aval!);
    const y = new Float64Array(rows * width);
    const rstd = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = x!.subarray(r * width, (r + 1) * width);
      rstd[r] = 1 / Math.sqrt(row.reduce((s, v) => s + v * v, 0) / width + eps);
      row.forEach((v, i) => (y[r * width + i] = v * rstd[r]! * g![i]!));
    }
    return [y, rstd];
  },
  kernel: (spec, target) => rmsNormLowering(spec, target),
  vjp(c) {
    const [x, g] = [c.input(0), c.input(1)];
    const [rstd, dy] = [c.output(1), c.cotangent(0)];
    return [
      c.needs(0) ? apply(rmsNormGradOp, [x, g, rstd, dy], c.attrs) : null,
      c.needs(1) ? sumTo(mul(dy, mul(x, column(rstd))), g.shape) : null,
    ];
  },
};

// With n = x·rstd and h = dy·g: dx = rstd·(h − n·mean(h·n)).
const rmsNormGradOp: Op<NormAttrs> = {
  name: "rmsNormGrad",
  infer: ([x]) => [{ shape: x!.shape, dtype: "f32" }],
  reference([x, g, rstd, dy], { inputs: [aval] }) {
    const { rows, width } = rowsOf(aval!);
    const dx = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      let mean = 0;
      for (let i = 0; i < width; i++) mean += (dy![r * width + i]! * g![i]! * x![r * width + i]! * rstd![r]!) / width;
      for (let i = 0; i < width; i++)
        dx[r * width + i] = rstd![r]! * (dy![r * width + i]! * g![i]! - x![r * width + i]! * rstd![r]! * mean);
    }
    return [dx];
  },
  kernel: (spec, target) => rmsNormGradLowering(spec, target),
};

const layerNormOp: Op<NormAttrs> = {
  name: "layerNorm",
  infer([x, g, b]) {
    checkNorm("layerNorm", x!, g!, b!);
    return [{ shape: x!.shape, dtype: "f32" }, statistics(x!), statistics(x!)];
  },
  reference([x, g, b], { attrs: { eps }, inputs: [aval] }) {
    const { rows, width } = rowsOf(aval!);
    const y = new Float64Array(rows * width);
    const mean = new Float64Array(rows);
    const rstd = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = x!.subarray(r * width, (r + 1) * width);
      mean[r] = row.reduce((s, v) => s + v, 0) / width;
      rstd[r] = 1 / Math.sqrt(row.reduce((s, v) => s + (v - mean[r]!) ** 2, 0) / width + eps);
      row.forEach((v, i) => (y[r * width + i] = (v - mean[r]!) * rstd[r]! * g![i]! + b![i]!));
    }
    return [y, mean, rstd];
  },
  kernel: (spec, target) => layerNormLowering(spec, target),
  vjp(c) {
    const [x, g] = [c.input(0), c.input(1)];
    const [mean, rstd, dy] = [c.output(1), c.output(2), c.cotangent(0)];
    const normalised = (): Tensor => mul(sub(x, column(mean)), column(rstd));
    return [
      c.needs(0) ? apply(layerNormGradOp, [x, g, mean, rstd, dy], c.attrs) : null,
      c.needs(1) ? sumTo(mul(dy, normalised()), g.shape) : null,
      c.needs(2) ? sumTo(dy, c.node.inputs[2]!.shape) : null,
    ];
  },
};

// With n = (x − mean)·rstd and h = dy·g: dx = rstd·(h − mean(h) − n·mean(h·n)).
const layerNormGradOp: Op<NormAttrs> = {
  name: "layerNormGrad",
  infer: ([x]) => [{ shape: x!.shape, dtype: "f32" }],
  reference([x, g, mean, rstd, dy], { inputs: [aval] }) {
    const { rows, width } = rowsOf(aval!);
    const dx = new Float64Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const n = (i: number): number => (x![r * width + i]! - mean![r]!) * rstd![r]!;
      const h = (i: number): number => dy![r * width + i]! * g![i]!;
      let [meanH, meanHN] = [0, 0];
      for (let i = 0; i < width; i++) {
        meanH += h(i) / width;
        meanHN += (h(i) * n(i)) / width;
      }
      for (let i = 0; i < width; i++) dx[r * width + i] = rstd![r]! * (h(i) - meanH - n(i) * meanHN);
    }
    return [dx];
  },
  kernel: (spec, target) => layerNormGradLowering(spec, target),
};

/**
 * Root-mean-square normalisation: y = x / √(mean(x²) + ε) · g.
 *
 * x [..., D], g [D] → [..., D].
 * @throws {ShapeError} if the last axis of x is not D.
 * @see Zhang & Sennrich 2019, eq. 4; HF `LlamaRMSNorm`.
 */
export const rmsNorm = (x: Tensor, g: Tensor, { eps }: NormAttrs): Tensor => applyAll(rmsNormOp, [x, g], { eps })[0]!;

/**
 * Layer normalisation: y = (x − mean(x)) / √(var(x) + ε) · g + b, with the biased variance.
 *
 * x [..., D], g and b [D] → [..., D].
 * @throws {ShapeError} if the last axis of x is not D.
 * @see Ba et al. 2016, eq. 4; torch `LayerNorm`.
 */
export const layerNorm = (x: Tensor, g: Tensor, b: Tensor, { eps }: NormAttrs): Tensor =>
  applyAll(layerNormOp, [x, g, b], { eps })[0]!;
