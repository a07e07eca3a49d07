/** @file The kernels of fused steps against what their nodes do one by one. */
import { describe, expect, it } from "vitest";
import { reachable, Trace } from "../src/index.ts";
import { fuse, type Step } from "../src/trace/fuse.ts";
import { kernelError } from "./device.ts";
import { isParameter, type Program, programs } from "./fusible.ts";
import { device, families } from "./kernel-cases.ts";
import { noise } from "./noise.ts";

function fusedSteps({ shapes, build }: Program): readonly Step[] {
  const trace = new Trace();
  const tensors = Object.entries(shapes).map(([name, shape]) => [
    name,
    isParameter(name) ? trace.param(name, shape) : trace.input(name, shape),
  ]);
  const outputs = Object.values(build(Object.fromEntries(tensors), trace));
  return fuse(reachable(outputs), outputs).filter((s) => s.op.name.startsWith("fused"));
}

describe("fused kernels", () => {
  for (const program of programs) {
    const steps = fusedSteps(program);
    if (steps.length === 0) continue;
    it.each(families)(`compute ${program.name} as its nodes do, on %s`, async (family) => {
      for (const { op, inputs, attrs } of steps) {
        const given = inputs.map(({ shape, dtype }, i) => ({
          shape,
          dtype,
          values: noise(shape, i + 1).map((x) => (dtype === "u32" ? Math.floor(x * x * 2 ** 32) : Math.abs(x) + 0.1)),
        }));
        expect(await kernelError(device, device[family], op, given, attrs)).toBeLessThanOrEqual(1e-5);
      }
    });
  }
});
