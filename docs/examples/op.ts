import { abs, apply, div, elementwise, grad, run, shift, square, sum, type Tensor } from "@graftml/tensor";

const softsignOp = elementwise<Record<never, never>>({
  name: "softsign",
  f: ([x = 0]) => x / (1 + Math.abs(x)),
  wgsl: ([x = ""], _, { type }) => `(${x} / (${type}(1.0) + abs(${x})))`,
  vjp: (g, _, c) => div(g, square(shift(abs(c.input(0)), 1))), // 1 / (1 + |x|)²
});

/** y = x / (1 + |x|). Any shape. @see Bergstra et al. 2009. */
export const softsign = (x: Tensor): Tensor => apply(softsignOp, [x], {});

const { y, dx } = await run(
  ({ x }) => {
    const y = softsign(x);
    return { y, dx: grad(sum(y), [x])[0] ?? x };
  },
  { x: { shape: [3], values: [-1, 0, 3] } },
);
console.log(y, dx); // [-0.5, 0, 0.75], [0.25, 1, 0.0625]
