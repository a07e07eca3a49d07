/** @file What tests of kernels share: the device, and cases checked against references on both families of adapters. */
import { expect, it } from "vitest";
import { type DType, type Node, type Shape, type Target, type Tensor, Trace } from "../src/index.ts";
import { type Given, kernelError, noise, openDevice, type TestDevice } from "./device.ts";

const opened = await openDevice();
if (opened === null) throw new Error("no WebGPU adapter");
/** One device for all files of the project: they run one after another in one process. */
export const device: TestDevice = opened;

export const families = ["lanes", "tiles"] as const;

/** One kernel: the node named `op` in a trace, with the values of its inputs. */
export interface Case {
  readonly op: string;
  readonly build: (t: Trace) => Tensor | null | undefined;
  /** Integers are drawn from low … high − 1. */
  readonly low?: number;
  readonly high?: number;
  /** Added to the floats. */
  readonly offset?: number;
}

/** The node that a case is about. */
export function nodeOf({ op, build }: Case): Node {
  const trace = new Trace();
  build(trace);
  const node = trace.nodes.findLast((n) => n.op.name === op);
  if (node === undefined) throw new Error(`no ${op} in the trace`);
  return node;
}

function given(node: Node, { low = 0, high = 1, offset = 0 }: Case): Given[] {
  return node.inputs.map(({ shape, dtype }, k) => {
    const values = noise(shape, k + 1);
    const integer = dtype === "i32" || dtype === "u32";
    return {
      shape,
      dtype,
      values: values.map((x) => (integer ? low + Math.floor(((x + 1) / 2) * (high - low)) : x + offset)),
    };
  });
}

/** Largest error of a case's kernels, relative to the largest value. */
export const errorOf = (c: Case, target: Target): Promise<number> => {
  const node = nodeOf(c);
  return kernelError(device, target, node.op, given(node, c), node.attrs);
};

const name = (node: Node): string =>
  `${node.op.name} ${node.inputs.map((t) => (t.dtype === "f32" ? "" : t.dtype) + `[${t.shape.join()}]`).join(" ")}`;

/** Checks all cases on both families. */
export function check(cases: readonly Case[], tolerance = 1e-5): void {
  for (const c of cases)
    it.each(families)(`computes ${name(nodeOf(c))} as its reference does, on %s`, async (family) => {
      expect(await errorOf(c, device[family])).toBeLessThanOrEqual(tolerance);
    });
}

/** Inputs of a case, by one letter. */
export const x = (t: Trace, shape: Shape, dtype: DType = "f32"): Tensor => t.input("x", shape, dtype);
export const y = (t: Trace, shape: Shape, dtype: DType = "f32"): Tensor => t.input("y", shape, dtype);
export const z = (t: Trace, shape: Shape, dtype: DType = "f32"): Tensor => t.input("z", shape, dtype);
