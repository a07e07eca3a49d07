/** @file Ops refuse shapes and types that do not fit, and say which. */
import { describe, expect, it } from "vitest";
import { ShapeError } from "../errors.ts";
import { type Tensor, Trace } from "../tensor.ts";
import { assign } from "./assign.ts";
import { attention } from "./attention.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { add } from "./elementwise.ts";
import { gather } from "./gather.ts";
import { concat, reshape, slice, transpose, updateRows } from "./layout.ts";
import { linear, matmul } from "./linear.ts";
import { layerNorm, rmsNorm } from "./norm.ts";
import { sum } from "./reduce.ts";
import { rope } from "./rope.ts";

const trace = new Trace();
let names = 0;
const x = (...shape: number[]): Tensor => trace.input(`x${names++}`, shape);
const i = (...shape: number[]): Tensor => trace.input(`i${names++}`, shape, "i32");
const attrs = { causal: false, scale: 1 };

const refused: readonly (readonly [string, () => unknown, string])[] = [
  ["add", () => add(x(2, 3), x(2)), "add: [2, 3] and [2] do not broadcast: axis -1 has 3 and 2."],
  ["sum", () => sum(x(2, 3), [2]), "sum: axis 2 is not an axis of [2, 3]."],
  ["reshape", () => reshape(x(2, 3), [4, 2]), "reshape: [2, 3] has 6 elements, [4, 2] has 8."],
  ["reshape with a rest", () => reshape(x(2, 3), [4, -1]), "reshape: [2, 3] has 6 elements"],
  ["slice", () => slice(x(2, 3), 1, 2, 2), "slice: 2 … 4 is not inside axis 1 of [2, 3]."],
  ["concat", () => concat([x(2, 3), x(3, 3)], 1), "concat along axis 1: f32 [2, 3], f32 [3, 3] differ elsewhere."],
  ["concat of types", () => concat([x(2), i(2)], 0), "concat along axis 0: f32 [2], i32 [2] differ elsewhere."],
  ["concat of nothing", () => concat([], 0), "concat: needs at least one tensor."],
  ["transpose", () => transpose(x(2, 3), [0, 0]), "transpose: [0, 0] is no order of the axes of [2, 3]."],
  ["matmul", () => matmul(x(2, 3), x(2, 3)), "matmul nn: [2, 3] and [2, 3] do not fit: the inner lengths are 3 and 2."],
  ["matmul of vectors", () => matmul(x(3), x(3, 2)), "matmul nn: [3] and [3, 2] do not fit"],
  [
    "linear",
    () => trace.within("model.mlp", () => linear(x(4, 7), x(3, 8))),
    "linear at model.mlp: x [4, 7] has 7 features, weight [3, 8] wants 8.",
  ],
  [
    "linear with weights for every row",
    () => trace.within("model.mlp", () => linear(x(4, 7, 8), x(3, 5, 8))),
    "linear at model.mlp: x [4, 7, 8] is no batch of 3 rows, as weight [3, 5, 8] wants.",
  ],
  ["matmul side by side", () => matmul(x(2, 2, 3), x(3, 3, 2)), "[2, 2, 3] and [3, 3, 2] are not as many products"],
  ["linear with a bias", () => linear(x(4, 8), x(3, 8), x(4)), "matmul nt: the bias [4] must have 3 elements."],
  ["rmsNorm", () => rmsNorm(x(2, 3), x(4), { eps: 1 }), "rmsNorm: x [2, 3] has width 3, the parameter is [4]."],
  [
    "layerNorm",
    () => layerNorm(x(2, 3), x(3), x(1, 3), { eps: 1 }),
    "layerNorm: x [2, 3] has width 3, the parameter is [1, 3].",
  ],
  [
    "attention",
    () => attention(x(1, 2, 3, 4), x(1, 2, 2, 4), x(1, 2, 2, 4), null, attrs),
    "attention: q [1, 2, 3, 4], k [1, 2, 2, 4]",
  ],
  [
    "causal attention",
    () => attention(x(1, 3, 1, 4), x(1, 2, 1, 4), x(1, 2, 1, 4), null, { ...attrs, causal: true }),
    "attention: 3 causal queries need at least as many keys, not 2.",
  ],
  [
    "attention's mask",
    () => attention(x(1, 2, 1, 4), x(1, 2, 1, 4), x(1, 2, 1, 4), x(2, 2), attrs),
    "attention: the key mask f32 [2, 2] must be f32 or i32 [1, 2].",
  ],
  [
    "attention's bias",
    () => attention(x(2, 2, 1, 4), x(2, 3, 1, 4), x(2, 3, 1, 4), null, attrs, x(1, 1, 3, 2)),
    "attention: the bias [1, 1, 3, 2] must be [1 or 2, 1, 2, 3].",
  ],
  [
    "packed attention",
    () => attention(x(1, 2, 1, 4), x(1, 2, 1, 4), x(1, 2, 1, 4), null, { ...attrs, packed: true }),
    "attention: packed rows need the numbers of their texts as a mask [1, 2].",
  ],
  [
    "attention over halves",
    () => attention(x(1, 2, 1, 4), trace.input("half", [1, 2, 1, 4], "f16"), x(1, 2, 1, 4), null, attrs),
    "attention: k is f16, wants f32; cast it first.",
  ],
  ["rope", () => rope(x(1, 2, 1, 4), i(1, 2), x(9, 6)), "rope: x [1, 2, 1, 4], positions i32 [1, 2], table [9, 6]"],
  ["gather", () => gather(x(4, 2), x(3)), "gather: table [4, 2], ids f32: wants [V, D] and i32."],
  [
    "crossEntropy",
    () => crossEntropy(x(4, 2), i(3)),
    "crossEntropy: logits [4, 2], labels i32 [3]: wants [N, V] and i32 [N].",
  ],
  ["assign", () => assign(trace.param("p", [2]), x(3)), "assign: a f32 [3] does not fit the parameter, f32 [2]."],
  [
    "updateRows",
    () => updateRows(x(2, 4, 3), x(2, 1, 2), i(2)),
    "updateRows: cache [2, 4, 3], rows [2, 1, 2], start i32 [2]",
  ],
];

describe("shape inference", () => {
  it.each(refused)("of %s names the op and what does not fit", (_, build, message) => {
    expect(build).toThrow(ShapeError);
    expect(build).toThrow(message);
  });

  it("leaves ops out that would change nothing", () => {
    const t = x(2, 3);
    expect([reshape(t, [2, 3]), slice(t, 0, 0, 2), transpose(t, [0, 1]), concat([t], 0), reshape(t, [2, -1])]).toEqual([
      t,
      t,
      t,
      t,
      t,
    ]);
  });

  it("makes an i32 only of i32 operands", () => {
    expect([add(i(2), i(2)).dtype, add(i(2), x(2)).dtype]).toEqual(["i32", "f32"]);
  });
});
