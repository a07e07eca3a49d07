/** @file Root-mean-square and layer normalisation, and their gradients with respect to x. */
import type { NormAttrs } from "../ops/norm.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import { type Aval, lengthOf, sizeOf } from "../shape.ts";
import { input, type Operand, output } from "./kernel.ts";
import { each, lowerRows, type RowOperand } from "./rows.ts";
import type { Target } from "./target.ts";
import { float, wgsl } from "./wgsl.ts";

/** What differs between the kernels of this file: the names of their operands, in order, and what they do with a row. */
interface NormKernel {
  readonly label: string;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  readonly body: string;
}

/** "mean" and "rstd" hold one number a row; the parameters hold one row. */
function lowerNorm({ label, reads, writes, body }: NormKernel, spec: Spec<NormAttrs>, target: Target): Lowering {
  const { shape } = spec.inputs[0] as Aval; // a norm's first input is x
  const width = lengthOf(shape, -1);
  const rows = sizeOf(shape) / width;
  const bind = (names: readonly string[], avals: readonly Aval[], of: (k: number) => Operand): RowOperand[] =>
    avals.map((aval, k) => {
      const name = names[k] ?? "";
      return { name, type: name === "mean" || name === "rstd" ? "f32" : "V", aval, operand: of(k) };
    });
  const operands = [...bind(reads, spec.inputs, input), ...bind(writes, spec.outputs, output)];
  const sizes = { count: float(width), eps: float(spec.attrs.eps) };
  return { dispatches: [lowerRows({ label, rows, width, operands, sizes, body: () => body }, target)] };
}

/** x, g → y, rstd. */
export const rmsNormLowering = (spec: Spec<NormAttrs>, target: Target): Lowering =>
  lowerNorm(
    {
      label: "rmsNorm",
      reads: ["x", "g"],
      writes: ["y", "rstd"],
      body: wgsl`
        var squares = V();
        ${each("squares += x[at] * x[at];")}
        let scale = inverseSqrt(all(lane, squares) / sizes.count + sizes.eps);
        ${each("y[at] = x[at] * scale * g[i];")}
        if (lane == 0u) { rstd[row] = scale; }`,
    },
    spec,
    target,
  );

/** x, g, rstd, dy → dx. */
export const rmsNormGradLowering = (spec: Spec<NormAttrs>, target: Target): Lowering =>
  lowerNorm(
    {
      label: "rmsNormGrad",
      reads: ["x", "g", "rstd", "dy"],
      writes: ["dx"],
      body: wgsl`
        let scale = rstd[row];
        var products = V();
        ${each("products += dy[at] * g[i] * x[at];")}
        let slope = all(lane, products) * scale * scale / sizes.count;
        ${each("dx[at] = scale * (dy[at] * g[i] - x[at] * slope);")}`,
    },
    spec,
    target,
  );

/** x, g, b → y, mean, rstd. The variance is taken about the mean, in a second pass: no cancellation. */
export const layerNormLowering = (spec: Spec<NormAttrs>, target: Target): Lowering =>
  lowerNorm(
    {
      label: "layerNorm",
      reads: ["x", "g", "b"],
      writes: ["y", "mean", "rstd"],
      body: wgsl`
        var sum = V();
        ${each("sum += x[at];")}
        let centre = all(lane, sum) / sizes.count;
        var squares = V();
        ${each("let d = x[at] - centre; squares += d * d;")}
        let scale = inverseSqrt(all(lane, squares) / sizes.count + sizes.eps);
        ${each("y[at] = (x[at] - centre) * scale * g[i] + b[i];")}
        if (lane == 0u) {
          mean[row] = centre;
          rstd[row] = scale;
        }`,
    },
    spec,
    target,
  );

/** x, g, mean, rstd, dy → dx. */
export const layerNormGradLowering = (spec: Spec<NormAttrs>, target: Target): Lowering =>
  lowerNorm(
    {
      label: "layerNormGrad",
      reads: ["x", "g", "mean", "rstd", "dy"],
      writes: ["dx"],
      body: wgsl`
        let centre = mean[row];
        let scale = rstd[row];
        var sum = V();
        var products = V();
        ${each("let h = dy[at] * g[i]; sum += h; products += h * (x[at] - centre);")}
        let shift = all(lane, sum) / sizes.count;
        let slope = all(lane, products) * scale * scale / sizes.count;
        ${each("dx[at] = scale * (dy[at] * g[i] - shift - (x[at] - centre) * slope);")}`,
    },
    spec,
    target,
  );
