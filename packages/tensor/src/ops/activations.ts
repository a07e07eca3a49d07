/** @file Nonlinearities: elementwise ops that models apply between their linear layers. */
import { apply, type Tensor } from "../tensor.ts";
import { fill, maximum, mul, none, square, sub, unary } from "./elementwise.ts";
import type { InlineContext } from "./op.ts";

const sigmoidOp = unary(
  "sigmoid",
  (x) => 1 / (1 + Math.exp(-x)),
  (x, { type }) => `(${type}(1.0) / (${type}(1.0) + exp(-${x})))`,
  (g, _, y) => mul(g, sub(y(), square(y()))),
);

// tanh overflows in some drivers' exp-based implementation: beyond ±15 it is ±1 in f32.
const tanhWgsl = (x: string, { type }: InlineContext): string => `tanh(clamp(${x}, ${type}(-15.0), ${type}(15.0)))`;
const tanhOp = unary("tanh", Math.tanh, tanhWgsl, (g, _, y) => sub(g, mul(g, square(y()))));

const softplusOp = unary(
  "softplus",
  (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  softplusWgsl,
  (g, x) => mul(g, sigmoid(x)),
);

/**
 * With z = e^−|x| the second term is ln(1 + z) = 2 artanh(s), s = z / (2 + z) ≤ ⅓: its series has no cancellation where 1 + z
 * would lose the digits of a small z, and the term after the last one is below 2⁻²⁴ of the sum.
 */
function softplusWgsl(x: string, { type }: InlineContext): string {
  const z = `exp(-abs(${x}))`;
  const s = `(${z} / (2.0 + ${z}))`;
  const series = [3, 5, 7, 9, 11]
    .map((n) => 1 / n)
    .reduceRight((sum, c) => `(${c} + ${s} * ${s} * ${sum})`, `${1 / 13}`);
  return `(max(${x}, ${type}()) + 2.0 * ${s} * (1.0 + ${s} * ${s} * ${series}))`;
}

const siluOp = unary(
  "silu",
  (x) => x / (1 + Math.exp(-x)),
  (x, { type }) => `(${x} / (${type}(1.0) + exp(-${x})))`,
  (g, x) => mul(g, apply(siluGradOp, [x], none)),
);
const siluGradOp = unary(
  "siluGrad",
  (x) => {
    const s = 1 / (1 + Math.exp(-x));
    return s * (1 + x * (1 - s));
  },
  (x, { type }) =>
    `((${type}(1.0) + ${x} * (${type}(1.0) - ${type}(1.0) / (${type}(1.0) + exp(-${x})))) / (${type}(1.0) + exp(-${x})))`,
);

const GELU = Math.sqrt(2 / Math.PI);
const geluInner = (x: number): number => GELU * (x + 0.044715 * x ** 3);
const geluInnerWgsl = (x: string): string => `(${GELU} * (${x} + 0.044715 * ${x} * ${x} * ${x}))`;
const geluOp = unary(
  "gelu",
  (x) => 0.5 * x * (1 + Math.tanh(geluInner(x))),
  (x, at) => `(0.5 * ${x} * (${at.type}(1.0) + ${tanhWgsl(geluInnerWgsl(x), at)}))`,
  (g, x) => mul(g, apply(geluGradOp, [x], none)),
);
const geluGradOp = unary(
  "geluGrad",
  (x) => {
    const t = Math.tanh(geluInner(x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU * (1 + 3 * 0.044715 * x * x);
  },
  (x, at) => {
    const t = tanhWgsl(geluInnerWgsl(x), at);
    const one = `${at.type}(1.0)`;
    return `(0.5 * (${one} + ${t}) + 0.5 * ${x} * (${one} - ${t} * ${t}) * ${GELU} * (${one} + ${3 * 0.044715} * ${x} * ${x}))`;
  },
);

/** Density of the standard normal distribution. */
const density = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const densityWgsl = (x: string): string => `(${1 / Math.sqrt(2 * Math.PI)} * exp(-0.5 * ${x} * ${x}))`;

/** Its distribution Φ = ½(1 + erf(x/√2)) = ½ + density · (x + x³/3 + x⁵/15 + …). @see Marsaglia 2004, eq. 1. */
function normal(x: number): number {
  if (Math.abs(x) > 9) return x < 0 ? 0 : 1; // within 1e-19
  let [term, sum] = [x, x];
  for (let n = 3; Math.abs(term) > 1e-18 * Math.abs(sum); n += 2) sum += term *= (x * x) / n;
  return 0.5 + density(x) * sum;
}

/**
 * Φ(−a) = e^(−a²/2) · t · P(t) with t = 1 / (1 + 0.35a): P, from the constant on, is the minimax polynomial of relative error
 * 3.2e-8 over 0 ≤ a ≤ 14. So small tails keep their digits, which 1 + erf loses.
 */
const TAIL = [
  0.1396214, 0.13986187, 0.11983286, 0.10550803, -0.0231099, 0.15917425, -0.25571433, 0.14397174, -0.02914594,
];
function normalWgsl(x: string, { type }: InlineContext): string {
  const t = `(1.0 / (1.0 + 0.35 * abs(${x})))`;
  const tail = TAIL.map(String).reduceRight((sum, c) => `(${c} + ${t} * ${sum})`);
  // 1 − tail for positive x, tail for negative.
  return `abs(select(${type}(1.0), ${type}(), ${x} < ${type}()) - exp(-0.5 * ${x} * ${x}) * ${t} * ${tail})`;
}

const geluErfOp = unary(
  "geluErf",
  (x) => x * normal(x),
  (x, at) => `(${x} * ${normalWgsl(x, at)})`,
  (g, x) => mul(g, apply(geluErfGradOp, [x], none)),
);
const geluErfGradOp = unary(
  "geluErfGrad",
  (x) => normal(x) + x * density(x),
  (x, at) => `(${normalWgsl(x, at)} + ${x} * ${densityWgsl(x)})`,
);

/** 1 / (1 + e⁻ˣ) */
export const sigmoid = (x: Tensor): Tensor => apply(sigmoidOp, [x], none);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => apply(tanhOp, [x], none);
/** max(x, 0) */
export const relu = (x: Tensor): Tensor => maximum(x, fill(x.node.trace, [], 0));
/** ln(1 + eˣ), without overflow. @see Dugas et al. 2000. */
export const softplus = (x: Tensor): Tensor => apply(softplusOp, [x], none);
/** x · sigmoid(x); also called swish. @see Elfwing et al. 2017. */
export const silu = (x: Tensor): Tensor => apply(siluOp, [x], none);
/** ½x(1 + tanh(√(2/π)(x + 0.044715x³))): Hugging Face's `gelu_new` and `gelu_pytorch_tanh`. @see Hendrycks & Gimpel 2016. */
export const gelu = (x: Tensor): Tensor => apply(geluOp, [x], none);
/** ½x(1 + erf(x/√2)): Hugging Face's `gelu`, PyTorch's default. @see Hendrycks & Gimpel 2016. */
export const geluErf = (x: Tensor): Tensor => apply(geluErfOp, [x], none);
