/** @file Ops that act on one element at a time, with numpy's broadcasting. Chains of them are fused into one kernel. */
import { ShapeError } from "../errors.ts";
import { mapLowering } from "../kernels/map.ts";
import { broadcastShapes, broadcastStrides, type Aval, sameShape, type Shape, sizeOf, stridesOf } from "../shape.ts";
import { apply, record, type Tensor, type Trace } from "../tensor.ts";
import type { InlineContext, Op, VjpContext } from "./op.ts";
import { sumTo } from "./reduce.ts";

interface Rule<A> {
  readonly name: string;
  /** The element's value; `index` is its place in the output. */
  readonly f: (args: readonly number[], attrs: A, index: number) => number;
  readonly wgsl: (args: readonly string[], attrs: A, at: InlineContext) => string;
  /** Cotangent of input i before it is summed over broadcast axes. */
  readonly vjp?: (g: Tensor, i: number, c: VjpContext<A>) => Tensor | null;
}

/**
 * An elementwise op. The result is i32 if every input is, else f32; kernels compute in f32, which is exact for integers
 * up to 2²⁴.
 */
export function elementwise<A>({ name, f, wgsl, vjp }: Rule<A>): Op<A> {
  const op: Op<A> = {
    name,
    infer(inputs): readonly Aval[] {
      if (inputs.some((t) => t.dtype === "u32"))
        throw new ShapeError(`${name}: u32 holds seeds; it has no arithmetic.`);
      const shape = inputs.reduce<Shape>((s, t) => broadcastShapes(name, s, t.shape), []);
      return [{ shape, dtype: inputs.length > 0 && inputs.every((t) => t.dtype === "i32") ? "i32" : "f32" }];
    },
    reference(inputs, { attrs, inputs: avals, outputs: [out] }) {
      const { shape } = out!;
      const to = stridesOf(shape);
      const from = avals.map((a) => broadcastStrides(a.shape, shape));
      const whole = avals.map((a) => sameShape(a.shape, shape)); // read at the same place: most operands
      const args = new Array<number>(inputs.length);
      const y = new Float64Array(sizeOf(shape));
      for (let index = 0; index < y.length; index++) {
        for (let k = 0; k < args.length; k++) {
          let at = whole[k]! ? index : 0;
          for (let axis = 0; axis < shape.length && !whole[k]!; axis++)
            at += (Math.floor(index / to[axis]!) % shape[axis]!) * from[k]![axis]!;
          args[k] = inputs[k]![at]!;
        }
        y[index] = f(args, attrs, index);
      }
      return [y];
    },
    kernel: (spec, target) => mapLowering(op, spec, target),
    inline: wgsl,
    ...(vjp && {
      vjp: (c: VjpContext<A>) =>
        c.node.inputs.map((x, i) => {
          if (!c.needs(i)) return null;
          const g = vjp(c.cotangent(0), i, c);
          return g && sumTo(g, x.shape);
        }),
    }),
  };
  return op;
}

/** Attributes of an op that has none. */
export type None = Record<never, never>;
export const none: None = {};

/** An elementwise op of one input x with output y; the cotangent of x is `vjp(g, x, y)`. */
export const unary = (
  name: string,
  f: (x: number) => number,
  wgsl: (x: string, at: InlineContext) => string,
  vjp?: (g: Tensor, x: Tensor, y: () => Tensor) => Tensor,
): Op<None> =>
  elementwise<None>({
    name,
    f: ([x]) => f(x!),
    wgsl: ([x], _, at) => wgsl(x ?? "", at),
    ...(vjp && { vjp: (g: Tensor, _: number, c: VjpContext<None>) => vjp(g, c.input(0), () => c.output(0)) }),
  });

const fillOp = elementwise<{ readonly value: number; readonly shape: Shape }>({
  name: "fill",
  f: (_, { value }) => value,
  wgsl: (_, { value }, { type }) => `${type}(${literal(value)})`,
});
const fillShaped: typeof fillOp = { ...fillOp, infer: (_, { shape }) => [{ shape, dtype: "f32" }] };

const addOp = elementwise<None>({
  name: "add",
  f: ([a, b]) => a! + b!,
  wgsl: ([a, b]) => `(${a} + ${b})`,
  vjp: (g) => g,
});
const subOp = elementwise<None>({
  name: "sub",
  f: ([a, b]) => a! - b!,
  wgsl: ([a, b]) => `(${a} - ${b})`,
  vjp: (g, i) => (i === 0 ? g : scale(g, -1)),
});
const mulOp = elementwise<None>({
  name: "mul",
  f: ([a, b]) => a! * b!,
  wgsl: ([a, b]) => `(${a} * ${b})`,
  vjp: (g, i, c) => mul(g, c.input(1 - i)),
});
const divOp = elementwise<None>({
  name: "div",
  f: ([a, b]) => a! / b!,
  wgsl: ([a, b]) => `(${a} / ${b})`,
  vjp: (g, i, c) => (i === 0 ? div(g, c.input(1)) : scale(div(mul(g, c.output(0)), c.input(1)), -1)),
});
// Where both are equal the whole cotangent goes to the second, so that relu has gradient 0 at 0 as in PyTorch.
const maxOp = elementwise<None>({
  name: "maximum",
  f: ([a, b]) => Math.max(a!, b!),
  wgsl: ([a, b]) => `max(${a}, ${b})`,
  vjp: (g, i, c) => shareOf(g, less(c.input(1), c.input(0)), i),
});
const minOp = elementwise<None>({
  name: "minimum",
  f: ([a, b]) => Math.min(a!, b!),
  wgsl: ([a, b]) => `min(${a}, ${b})`,
  vjp: (g, i, c) => shareOf(g, less(c.input(0), c.input(1)), i),
});
/** The cotangent of operand i where `first` says 1 if the first one was taken and 0 if the second was. */
const shareOf = (g: Tensor, first: Tensor, i: number): Tensor => (i === 0 ? mul(g, first) : sub(g, mul(g, first)));
const lessOp = elementwise<None>({
  name: "less",
  f: ([a, b]) => (a! < b! ? 1 : 0),
  wgsl: ([a, b], _, { type }) => `select(${type}(0.0), ${type}(1.0), ${a} < ${b})`,
  vjp: () => null,
});
const whereOp = elementwise<None>({
  name: "where",
  f: ([c, a, b]) => (c! !== 0 ? a! : b!),
  wgsl: ([c, a, b], _, { type }) => `select(${b}, ${a}, ${c} != ${type}(0.0))`,
  vjp: (g, i, c) => {
    const zero = fill(c.node.trace, [], 0);
    return i === 0 ? null : i === 1 ? where(c.input(0), g, zero) : where(c.input(0), zero, g);
  },
});
const affineOp = elementwise<{ readonly scale: number; readonly shift: number }>({
  name: "affine",
  f: ([x], { scale: s, shift }) => x! * s + shift,
  wgsl: ([x], { scale: s, shift }) =>
    shift === 0
      ? `(${x} * ${literal(s)})`
      : s === 1
        ? `(${x} + ${literal(shift)})`
        : `(${x} * ${literal(s)} + ${literal(shift)})`,
  vjp: (g, _, { attrs }) => (attrs.scale === 1 ? g : scale(g, attrs.scale)),
});
const detachOp = elementwise<None>({
  name: "detach",
  f: ([x]) => x!,
  wgsl: ([x]) => x ?? "",
  vjp: () => null,
});
interface CastAttrs {
  readonly to: "f32" | "f16" | "i32";
}
const castOp: Op<CastAttrs> = {
  ...elementwise<CastAttrs>({
    name: "cast",
    f: ([x], { to }) => (to === "i32" ? Math.trunc(x!) : to === "f16" ? roundToHalf(x!) : x!),
    wgsl: ([x = ""], { to }, { type }) =>
      to === "i32" ? `trunc(${type}(${x}))` : to === "f16" ? withinHalf(x, type) : `${type}(${x})`,
    vjp: (g, _, { attrs }) => (attrs.to === "i32" ? null : g),
  }),
  infer: ([x], { to }) => [{ shape: x!.shape, dtype: to }],
};

const expOp = unary(
  "exp",
  Math.exp,
  (x) => `exp(${x})`,
  (g, _, y) => mul(g, y()),
);
const logOp = unary(
  "log",
  Math.log,
  (x) => `log(${x})`,
  (g, x) => div(g, x),
);
const sqrtOp = unary(
  "sqrt",
  Math.sqrt,
  (x) => `sqrt(${x})`,
  (g, _, y) => scale(div(g, y()), 0.5),
);
const absOp = unary(
  "abs",
  Math.abs,
  (x) => `abs(${x})`,
  (g, x) => {
    const zero = fill(x.node.trace, [], 0);
    return mul(g, sub(less(zero, x), less(x, zero)));
  },
);

/** The largest finite number in half precision. */
const LARGEST_HALF = 65504;

/** The finite half-precision number nearest to x, ties to the even one; infinities and NaN as they are. */
function roundToHalf(x: number): number {
  if (!Number.isFinite(x)) return x;
  const bounded = Math.max(-LARGEST_HALF, Math.min(x, LARGEST_HALF));
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(bounded))), -14) - 10);
  const whole = 1.5 * 2 ** 52 * unit; // added to a smaller number, it leaves no digits below a unit
  return bounded + whole - whole;
}

/** What `roundToHalf` does before it rounds, which is done where the value is stored. Only NaN and infinities pass as they are. */
const withinHalf = (x: string, type: string): string =>
  `select(${x}, clamp(${x}, ${type}(-${LARGEST_HALF}.0), ${type}(${LARGEST_HALF}.0)), abs(${x}) <= ${type}(3.4028234e38f))`;

/** A WGSL float literal that reads back as the same f32. @throws {RangeError} for what is no finite f32. */
function literal(x: number): string {
  const rounded = Math.fround(x);
  if (!Number.isFinite(rounded)) throw new RangeError(`WGSL has no literal for ${x}; the largest f32 is 3.4028234e38.`);
  const text = String(rounded);
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** A tensor of `shape` with one value everywhere. */
export const fill = (trace: Trace, shape: Shape, value: number): Tensor =>
  record(trace, fillShaped, [], { value, shape })[0] as Tensor; // fill has one output
/** a + b */
export const add = (a: Tensor, b: Tensor): Tensor => apply(addOp, [a, b], none);
/** a − b */
export const sub = (a: Tensor, b: Tensor): Tensor => apply(subOp, [a, b], none);
/** a · b, element by element. */
export const mul = (a: Tensor, b: Tensor): Tensor => apply(mulOp, [a, b], none);
/** a / b */
export const div = (a: Tensor, b: Tensor): Tensor => apply(divOp, [a, b], none);
/** max(a, b) */
export const maximum = (a: Tensor, b: Tensor): Tensor => apply(maxOp, [a, b], none);
/** min(a, b) */
export const minimum = (a: Tensor, b: Tensor): Tensor => apply(minOp, [a, b], none);
/** x between two bounds known when tracing; the gradient is 0 where x is not between them. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => {
  const bound = (value: number): Tensor => fill(x.node.trace, [], value);
  return minimum(maximum(x, bound(low)), bound(high));
};
/** 1 where a < b, else 0; has no gradient. */
export const less = (a: Tensor, b: Tensor): Tensor => apply(lessOp, [a, b], none);
/** a where the condition is not 0, else b. */
export const where = (condition: Tensor, a: Tensor, b: Tensor): Tensor => apply(whereOp, [condition, a, b], none);
/** x · factor, for a factor known when tracing; it becomes part of the shader. */
export const scale = (x: Tensor, factor: number): Tensor => apply(affineOp, [x], { scale: factor, shift: 0 });
/** x + term, for a term known when tracing. */
export const shift = (x: Tensor, term: number): Tensor => apply(affineOp, [x], { scale: 1, shift: term });
/**
 * The same values as another type: to i32 by truncation, to f16 by rounding to the nearest, and what is larger than any to
 * ±65504. The gradient goes through rounding as if there was none.
 */
export const cast = (x: Tensor, to: CastAttrs["to"]): Tensor => (x.dtype === to ? x : apply(castOp, [x], { to }));
/** x as a constant: no gradient goes through it. */
export const detach = (x: Tensor): Tensor => apply(detachOp, [x], none);
/** eˣ */
export const exp = (x: Tensor): Tensor => apply(expOp, [x], none);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => apply(logOp, [x], none);
/** √x */
export const sqrt = (x: Tensor): Tensor => apply(sqrtOp, [x], none);
/** |x|, with gradient 0 at 0. */
export const abs = (x: Tensor): Tensor => apply(absOp, [x], none);
/** x² */
export const square = (x: Tensor): Tensor => mul(x, x);
