/** @file Fused steps on the device: kernels against their nodes one by one, whole programs against plain ones. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviceRuntime, hostRuntime, reachable, requestDevice, type Runtime, Trace } from "../src/index.ts";
import { fuse, type Step } from "../src/trace/fuse.ts";
import { kernelError } from "./device.ts";
import { isParameter, type Program, programs } from "./fusible.ts";
import { device, families } from "./kernel-cases.ts";
import { noise } from "./noise.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = deviceRuntime(await requestDevice());
});
afterAll(() => runtime.dispose());

function traceOf({ shapes, build }: Program, trace: Trace): ReturnType<Program["build"]> {
  const tensors = Object.entries(shapes).map(([name, shape]) => [
    name,
    isParameter(name) ? trace.param(name, shape) : trace.input(name, shape),
  ]);
  return build(Object.fromEntries(tensors), trace);
}

function fusedSteps(program: Program): readonly Step[] {
  const outputs = Object.values(traceOf(program, new Trace()));
  return fuse(reachable(outputs), outputs).filter((s) => s.op.name.startsWith("fused"));
}

/** Outputs of a run, and the parameters after it. */
async function resultsOn(on: Runtime, program: Program): Promise<Readonly<Record<string, ArrayLike<number>>>> {
  const store = on.store();
  const names = Object.keys(program.shapes);
  const valuesOf = (name: string): Float64Array =>
    noise(program.shapes[name]!, name.length + 2).map((x) => Math.fround(Math.abs(x) + 0.1));
  for (const name of names.filter(isParameter))
    store.declare(name, { shape: program.shapes[name]!, dtype: "f32", values: () => valuesOf(name) });
  const compiled = await on.compile(store, (trace) => traceOf(program, trace));
  const inputs = names.filter((name) => !isParameter(name)).map((name) => [name, valuesOf(name)]);
  const outputs = await compiled.run({ ...Object.fromEntries(inputs), clock: [7, 3] });
  const after = names.filter(isParameter).map(async (name) => [`after ${name}`, await store.read(name)] as const);
  compiled.dispose();
  return { ...outputs, ...Object.fromEntries(await Promise.all(after)) };
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

describe("fused programs", () => {
  it.each(programs)("give on the device what $name gives without fusing", async (program) => {
    const [want, got] = [await resultsOn(hostRuntime(), program), await resultsOn(runtime, program)];
    expect(Object.keys(got)).toEqual(Object.keys(want));
    for (const [name, values] of Object.entries(want)) {
      const peak = Math.max(...Array.from(values, Math.abs), 1e-30);
      const worst = Math.max(...Array.from(values, (v, i) => Math.abs(v - got[name]![i]!) / peak));
      expect(worst, name).toBeLessThanOrEqual(1e-5);
    }
  });
});
