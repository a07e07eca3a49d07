/** @file Cross-entropy of class indices and its gradient, a row of logits at a time. */
import type { Lowering, Spec } from "../ops/op.ts";
import type { Aval } from "../shape.ts";
import { input, output } from "./kernel.ts";
import { each, lowerRows, type RowOperand } from "./rows.ts";
import type { Target } from "./target.ts";
import { wgsl } from "./wgsl.ts";

/** Operands as `name: type`, for as many as there are. */
function bind(names: Readonly<Record<string, RowOperand["type"]>>, { inputs, outputs }: Spec): RowOperand[] {
  const avals = [...inputs, ...outputs];
  return Object.entries(names).map(([name, type], k) => ({
    name,
    type,
    aval: avals[k] as Aval, // a name for each operand
    operand: k < inputs.length ? input(k) : output(k - inputs.length),
  }));
}

const sizesOf = ({ inputs: [logits] }: Spec): { rows: number; width: number } => {
  const [rows = 0, width = 0] = logits?.shape ?? [];
  return { rows, width };
};

/** logits, labels → loss, lse. One pass: the sum is rescaled when the running maximum rises. */
export const crossEntropyLowering = (spec: Spec, target: Target): Lowering => ({
  dispatches: [
    lowerRows(
      {
        label: "crossEntropy",
        ...sizesOf(spec),
        operands: bind({ logits: "V", labels: "i32", loss: "f32", lse: "f32" }, spec),
        // The running maximum starts at the lowest finite f32, not −∞: differences of two of them must be numbers.
        body: (unit) => wgsl`
          var top = V(-3.4e38);
          var sum = V();
          ${each(wgsl`
            let x = logits[at];
            let higher = max(top, x);
            sum = sum * exp(top - higher) + exp(x - higher);
            top = higher;`)}
          let highest = most(lane, top);
          let norm = log(all(lane, sum * exp(top - highest))) + highest;
          if (lane == 0u) {
            let label = labels[row];
            lse[row] = norm;
            loss[row] = 0.0;
            if (label >= 0) { loss[row] = norm - logits[first + u32(label)${unit === 4 ? " / 4u][u32(label) % 4u" : ""}]; }
          }`,
      },
      target,
    ),
  ],
});

/** logits, labels, lse, dloss → dlogits = (softmax(logits) − onehot(label)) · dloss; 0 in rows without a label. */
export const crossEntropyGradLowering = (spec: Spec, target: Target): Lowering => ({
  dispatches: [
    lowerRows(
      {
        label: "crossEntropyGrad",
        ...sizesOf(spec),
        operands: bind({ logits: "V", labels: "i32", lse: "f32", dloss: "f32", dlogits: "V" }, spec),
        body: (unit) => wgsl`
          let label = labels[row];
          let norm = lse[row];
          let slope = dloss[row];
          ${each(wgsl`
            let classes = ${unit === 4 ? "4 * i32(i) + vec4i(0, 1, 2, 3)" : "i32(i)"};
            let target_share = select(V(), V(1.0), classes == ${unit === 4 ? "vec4i(label)" : "label"});
            dlogits[at] = select(V(), (exp(logits[at] - norm) - target_share) * slope, label >= 0);`)}`,
      },
      target,
    ),
  ],
});
