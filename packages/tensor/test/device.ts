/** @file Runs one op's kernels on a device, apart from the runtime, and compares them with its reference. */
import { create, globals } from "webgpu";
import type { DType } from "../src/dtype.ts";
import type { Target } from "../src/kernels/target.ts";
import { bytesOf } from "../src/kernels/wgsl.ts";
import type { Op } from "../src/ops/op.ts";
import { f16ToNumber } from "../src/runtime/host.ts";
import { type Aval, type Shape, show, sizeOf } from "../src/shape.ts";

export { noise } from "./noise.ts";

Object.assign(globalThis, globals);

/** A device with what tests need to know of it. The instance is held: letting it be collected crashes the process. */
export interface TestDevice {
  readonly instance: GPU;
  readonly gpu: GPUDevice;
  readonly lanes: Target;
  readonly tiles: Target;
}

/** The first adapter, or null where there is none. */
export async function openDevice(): Promise<TestDevice | null> {
  const instance = create([]);
  const adapter = await instance.requestAdapter();
  if (adapter === null) return null;
  const features = (["subgroups", "shader-f16"] as const).filter((f) => adapter.features.has(f));
  const { maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage } = adapter.limits;
  const gpu = await adapter.requestDevice({
    requiredFeatures: features,
    requiredLimits: { maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage },
  });
  const limits = {
    maxBinding: maxStorageBufferBindingSize,
    maxWorkgroups: gpu.limits.maxComputeWorkgroupsPerDimension,
  };
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter.info;
  const subgroup = subgroupMinSize === subgroupMaxSize ? subgroupMinSize : 0;
  return {
    instance,
    gpu,
    lanes: { family: "lanes", subgroup, ...limits },
    tiles: { family: "tiles", subgroup: 0, ...limits },
  };
}

/** Values of one operand. */
export interface Given {
  readonly shape: Shape;
  readonly values: Float64Array;
  readonly dtype?: DType;
}

const USAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST

/** Nearest half-precision word of a number, ties to even. */
function numberToF16(x: number): number {
  let best = 0;
  let error = Infinity;
  const sign = x < 0 ? 0x8000 : 0;
  const a = Math.abs(x);
  const exponent = Math.max(-14, Math.min(15, Math.floor(Math.log2(a || 2 ** -24))));
  const guess =
    exponent === -14 && a < 2 ** -14
      ? Math.round(a * 2 ** 24)
      : ((exponent + 15) << 10) + Math.round((a / 2 ** exponent - 1) * 1024);
  for (const word of [guess - 1, guess, guess + 1]) {
    const e = Math.abs(f16ToNumber(word) - a);
    if (word >= 0 && e < error) [best, error] = [word, e];
  }
  return sign | best;
}

function pack(values: Float64Array, dtype: DType): Uint8Array<ArrayBuffer> {
  const bytes = {
    f32: () => Float32Array.from(values),
    i32: () => Int32Array.from(values),
    u32: () => Uint32Array.from(values),
    f16: () => Uint16Array.from(values, numberToF16),
  }[dtype]();
  const padded = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  padded.set(new Uint8Array(bytes.buffer));
  return padded;
}

/** Runs the op's kernels; outputs and scratch start as NaN, so that what is never written shows. */
export async function runKernels<A>(
  { gpu }: TestDevice,
  target: Target,
  op: Op<A>,
  given: readonly Given[],
  attrs: A,
): Promise<Float64Array[]> {
  const avals = given.map((g): Aval => ({ shape: g.shape, dtype: g.dtype ?? "f32" }));
  const outputs = op.infer(avals, attrs);
  const { dispatches, scratch = [] } = op.kernel({ inputs: avals, outputs, attrs }, target);
  const owned: GPUBuffer[] = [];
  const buffer = (bytes: Uint8Array<ArrayBuffer>): GPUBuffer => {
    const b = gpu.createBuffer({ size: Math.max(16, Math.ceil(bytes.byteLength / 16) * 16), usage: USAGE });
    gpu.queue.writeBuffer(b, 0, bytes);
    owned.push(b);
    return b;
  };
  const poison = (n: number): Uint8Array<ArrayBuffer> => new Uint8Array(n).fill(0xff);
  const memory = {
    input: given.map((g, i) => buffer(pack(g.values, avals[i]!.dtype))),
    output: [] as GPUBuffer[],
    scratch: scratch.map((n) => buffer(poison(n))),
  };
  memory.output = outputs.map((o, i) => {
    const alias = op.updates === true ? op.aliases?.[i] : undefined;
    return alias === undefined ? buffer(poison(bytesOf(o))) : memory.input[alias]!;
  });
  gpu.pushErrorScope("validation");
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { kernel, operands, sizes, workgroups } of dispatches) {
    const module = gpu.createShaderModule({ code: kernel.code, label: kernel.label });
    const pipeline = gpu.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    const entries: GPUBindGroupEntry[] = operands.map(({ of, index, offset, size }, binding) => ({
      binding,
      resource: {
        buffer: memory[of][index]!,
        ...(offset !== undefined && { offset }),
        ...(size !== undefined && { size }),
      },
    }));
    if (sizes.length > 0) {
      const words = new Uint32Array(Math.ceil(sizes.length / 4) * 4);
      words.set(sizes);
      const uniform = gpu.createBuffer({ size: words.byteLength, usage: 0x40 | 0x08 });
      gpu.queue.writeBuffer(uniform, 0, words);
      owned.push(uniform);
      entries.push({ binding: operands.length, resource: { buffer: uniform } });
    }
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...workgroups);
  }
  pass.end();
  const results = outputs.map((o, i) => {
    const size = Math.max(4, bytesOf(o));
    const staging = gpu.createBuffer({ size, usage: 0x01 | 0x08 });
    owned.push(staging);
    encoder.copyBufferToBuffer(memory.output[i]!, 0, staging, 0, size);
    return staging;
  });
  gpu.queue.submit([encoder.finish()]);
  const error = await gpu.popErrorScope();
  if (error !== null)
    throw new Error(`${error.message}\n${dispatches.map((d) => `// ${d.kernel.label}\n${d.kernel.code}`).join("\n")}`);
  const values: Float64Array[] = [];
  for (const [i, staging] of results.entries()) {
    await staging.mapAsync(0x01);
    const data = staging.getMappedRange();
    const { dtype, shape } = outputs[i]!;
    const words = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, f16: Uint16Array }[dtype];
    const numbers = new words(data).subarray(0, sizeOf(shape));
    values.push(Float64Array.from(numbers, dtype === "f16" ? f16ToNumber : Number));
  }
  for (const b of owned) b.destroy();
  return values;
}

/** Largest |got − want| of all outputs, relative to the largest |want| of that output. Throws on NaN. */
export async function kernelError<A>(
  device: TestDevice,
  target: Target,
  op: Op<A>,
  given: readonly Given[],
  attrs: A,
): Promise<number> {
  const avals = given.map((g): Aval => ({ shape: g.shape, dtype: g.dtype ?? "f32" }));
  const rounded = given.map((g) => (g.dtype === "f16" ? g.values.map((x) => f16ToNumber(numberToF16(x))) : g.values));
  const outputs = op.infer(avals, attrs);
  const want = op.reference(
    rounded.map((v) => v.slice()),
    { inputs: avals, outputs, attrs },
  );
  const got = await runKernels(
    device,
    target,
    op,
    given.map((g, i) => ({ ...g, values: rounded[i]! })),
    attrs,
  );
  let worst = 0;
  got.forEach((values, i) => {
    const peak = want[i]!.reduce((m, x) => Math.max(m, Math.abs(x)), 1e-30);
    values.forEach((x, at) => {
      if (Number.isNaN(x))
        throw new Error(
          `${op.name} output ${i} ${show(outputs[i]!.shape)}: element ${at} was never written or is NaN.`,
        );
      worst = Math.max(worst, Math.abs(x - want[i]![at]!) / peak);
    });
  });
  return worst;
}
