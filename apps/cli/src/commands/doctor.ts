/** @file `graft doctor`: whether this machine can train, and what to do if it cannot. */
import { totalmem } from "node:os";
import { rngOf } from "@graftml/peft";
import { type Device, deviceRuntime, hostRuntime, matmul, run, slice, type Runtime } from "@graftml/tensor";
import { request } from "../device.ts";
import { NoDevice } from "../errors.ts";
import { finish, paint, table } from "../io.ts";
import { bytes } from "../render.ts";
import type { Command } from "../verbs.ts";
import { version, webgpuVersion } from "../versions.ts";

/** Side of the matrices that are multiplied to check results, and to measure speed. */
const [CHECKED, TIMED] = [64, 512] as const;
/** Largest difference of f32 sums of that many products, relative to the largest of them. */
const TOLERANCE = 1e-5;

export const doctor: Command = async (io) => {
  const facts = {
    graft: version,
    node: process.version.slice(1),
    webgpu: webgpuVersion() ?? null,
    free_memory: process.availableMemory(),
    memory: totalmem(),
  };
  const lines = [
    ["graft", facts.graft],
    ["node", `${facts.node} on ${process.platform} ${process.arch}`],
    ["webgpu", facts.webgpu ?? paint("red", "not installed: npm install webgpu", process.stdout)],
    ["memory", `${bytes(facts.free_memory)} free of ${bytes(facts.memory)}`],
  ];
  const device = await request().catch((error: unknown) => {
    if (!NoDevice.is(error)) throw error;
    finish(io, { ...facts, adapter: null, problem: error.message }, table(lines));
    throw new NoDevice(`${error.message.split(" `graft doctor`")[0]}\n${remedy()}`);
  });
  try {
    const adapter = describe(device);
    const runtime = deviceRuntime(device);
    const difference = await check(runtime);
    const gflops = await speed(runtime);
    const fine = difference <= TOLERANCE;
    const verdict = `${TIMED}³ in f32: ${gflops.toFixed(1)} GFLOP/s; results ${fine ? "agree with" : "DIFFER from"} the f64 interpreter (${difference.toExponential(1)})`;
    finish(
      io,
      { ...facts, adapter, matmul: { gflops, difference, correct: fine } },
      table([
        ...lines,
        ["adapter", `${adapter.name} (${adapter.software ? "software, on the processor" : "hardware"})`],
        [
          "limits",
          `buffers of ${bytes(adapter.maxBuffer)}, bindings of ${bytes(adapter.maxBinding)}, ${adapter.maxStorageBuffers} storage buffers a shader`,
        ],
        ["features", adapter.features.join(", ")],
        ["matmul", paint(fine ? "green" : "red", verdict, process.stdout)],
      ]),
    );
    if (!fine) throw new NoDevice("this adapter computes wrong results: update its driver, or run with --device host.");
  } finally {
    device.dispose();
  }
};

function describe(device: Device) {
  const { limits, features, adapterInfo } = device.gpu;
  return {
    name: device.name,
    vendor: adapterInfo.vendor,
    architecture: adapterInfo.architecture,
    software: adapterInfo.isFallbackAdapter,
    kernels: device.target.family,
    maxBuffer: limits.maxBufferSize,
    maxBinding: limits.maxStorageBufferBindingSize,
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
    features: [...features].sort(),
  };
}

/** Largest difference from the interpreter of a product of random matrices, relative to its largest element. */
async function check(runtime: Runtime): Promise<number> {
  const operands = { a: random("a", CHECKED), b: random("b", CHECKED) };
  const multiply = async (on: Runtime): Promise<readonly number[]> => [
    ...((await run(({ a, b }) => ({ y: matmul(a, b) }), operands, on))["y"] ?? []),
  ];
  const [got, wanted] = [await multiply(runtime), await multiply(hostRuntime())];
  const differences = wanted.map((x, i) => Math.abs(x - (got[i] ?? NaN)));
  return Math.max(...differences) / Math.max(...wanted.map(Math.abs));
}

function random(name: string, side: number) {
  const rng = rngOf(0, name);
  return { shape: [side, side], values: Float32Array.from({ length: side * side }, () => rng.normal()) } as const;
}

/** GFLOP/s of a product, the best of a few. */
async function speed(runtime: Runtime): Promise<number> {
  const store = runtime.store();
  for (const name of ["a", "b"])
    store.declare(name, { shape: [TIMED, TIMED], dtype: "f32", values: () => random(name, TIMED).values });
  const program = await runtime.compile(store, (trace) => {
    const [a, b] = [trace.param("a", [TIMED, TIMED]), trace.param("b", [TIMED, TIMED])];
    return { y: slice(matmul(a, b), 0, 0, 1) }; // little is read back
  });
  await program.run({});
  let best = Infinity;
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await program.run({});
    best = Math.min(best, performance.now() - start);
  }
  program.dispose();
  return (2 * TIMED ** 3) / best / 1e6;
}

/** What to do where there is no adapter. */
function remedy(): string {
  if (process.platform === "linux")
    return "With a GPU: install its Vulkan driver. Without one, as root on Debian or Ubuntu: apt-get install mesa-vulkan-drivers (24 or newer; on Debian 12 from bookworm-backports).";
  return process.platform === "darwin"
    ? "Metal should be there: is this a virtual machine without a GPU?"
    : "Update the graphics driver: WebGPU needs Direct3D 12 or Vulkan 1.1.";
}
