import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  BUCKET_BLOCK,
  add,
  apply,
  assign,
  type Device,
  DeviceError,
  type DeviceRuntime,
  deviceRuntime,
  hostRuntime,
  input,
  mul,
  type Op,
  output,
  requestDevice,
  scale,
  ShapeError,
  square,
  sum,
  type Trace,
  TraceError,
} from "../src/index.ts";
import { trainBlock } from "./block.ts";
import { declareMlp, mlpBatch, mlpStep, trainMlp } from "./mlp.ts";

let device: Device;
let runtime: DeviceRuntime;
beforeAll(async () => {
  device = await requestDevice();
  runtime = deviceRuntime(device);
});
afterAll(() => runtime.dispose());

/** An op of one kernel that copies 4 values of input 0, found by `operand`, with the given text. */
const copyFour = (code: string, operand = input(0)): Op => ({
  name: "copyFour",
  infer: () => [{ shape: [4], dtype: "f32" }],
  reference: ([x]) => [x!.slice(0, 4)],
  kernel: () => ({
    dispatches: [
      { kernel: { label: "copy four", code }, operands: [operand, output(0)], sizes: [], workgroups: [1, 1, 1] },
    ],
  }),
});
const COPY_FOUR = `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(1) fn main() {
  y[0] = x[0];
}`;

describe("a program on the device", () => {
  it("trains as the interpreter does", async () => {
    const [got, want] = await Promise.all([trainMlp(runtime, 5), trainMlp(hostRuntime(), 5)]);
    got.losses.forEach((loss, i) => expect(Math.abs(loss / want.losses[i]! - 1)).toBeLessThan(1e-5));
    got.norms.forEach((norm, i) => expect(Math.abs(norm / want.norms[i]! - 1)).toBeLessThan(1e-5));
    got.weights.forEach((w, i) => expect(Math.abs(w - want.weights[i]!)).toBeLessThan(1e-5));
  });

  it("trains a transformer's block as the interpreter does", async () => {
    const [got, want] = [await trainBlock(runtime, 5), await trainBlock(hostRuntime(), 5)];
    got.forEach((loss, i) => expect(Math.abs(loss / want[i]! - 1)).toBeLessThan(1e-5));
    expect(want.at(-1)).toBeLessThan(0.9 * want[0]!);
  });

  it("gives the same bits twice", async () => {
    const [first, second] = [await trainMlp(runtime, 4), await trainMlp(runtime, 4)];
    expect(second).toEqual(first);
  });

  it("executes runs in the order of their submission, awaited or not", async () => {
    const store = runtime.store();
    declareMlp(store);
    const program = await runtime.compile(store, mlpStep);
    const together = await Promise.all(Array.from({ length: 6 }, (_, i) => program.run(mlpBatch(i))));
    const { losses } = await trainMlp(runtime, 6);
    expect(together.map(({ loss }) => loss![0])).toEqual(losses);
    program.dispose();
  });

  it("says what it does, a line for each dispatch", async () => {
    const store = runtime.store();
    store.declare("w", { shape: [4], dtype: "f32" });
    const program = await runtime.compile(store, (t) =>
      t.within("model.head", () => ({ y: apply(copyFour(COPY_FOUR), [t.param("w", [4])], {}) })),
    );
    expect(program.text).toBe("copy four () 1×1×1 [w, #0]  model.head");
    program.dispose();
  });

  it("reads integers back exactly", async () => {
    const program = await runtime.compile(runtime.store(), (t) => ({ ids: t.input("ids", [3], "i32") }));
    expect((await program.run({ ids: [2 ** 30 + 1, -5, 7] }))["ids"]).toEqual(Float64Array.from([2 ** 30 + 1, -5, 7]));
    program.dispose();
  });

  it("uploads a constant once, however many programs use it", async () => {
    const own = deviceRuntime(await requestDevice());
    const make = vi.fn(() => Float32Array.of(1, 2, 3, 4));
    const build = (t: Trace) => ({ y: add(t.constant("table", [4], make), t.input("x", [4])) });
    for (let i = 0; i < 2; i++) {
      const program = await own.compile(own.store(), build);
      expect((await program.run({ x: [1, 1, 1, 1] }))["y"]).toEqual(Float32Array.of(2, 3, 4, 5));
      program.dispose();
    }
    expect(make).toHaveBeenCalledTimes(1);
    own.dispose();
  });

  it("names a missing input, and one of the wrong length", async () => {
    const program = await runtime.compile(runtime.store(), (t) => ({ y: square(t.input("x", [4])) }));
    await expect(program.run({})).rejects.toThrow(new ShapeError("run: input x is missing."));
    await expect(program.run({ x: [1, 2] })).rejects.toThrow(new ShapeError("input x: got 2 values, wants 4."));
    program.dispose();
  });

  it("shows the line of a shader that does not compile", async () => {
    const broken = copyFour(COPY_FOUR.replace("x[0]", "z[0]"));
    const compiled = runtime.compile(runtime.store(), (t) => ({ y: apply(broken, [t.input("x", [4])], {}) }));
    await expect(compiled).rejects.toThrow(
      /kernel "copy four" does not compile: line 4, column 10: unresolved value 'z'/,
    );
    await expect(compiled).rejects.toThrow(/> +4 \| +y\[0\] = z\[0\];/);
  });

  it("refuses a parameter that is another shape in the store", async () => {
    const store = runtime.store();
    store.declare("w", { shape: [4], dtype: "f32" });
    await expect(runtime.compile(store, (t) => ({ w: t.param("w", [5]) }))).rejects.toThrow(
      new ShapeError("w is f32 [4] in the store and f32 [5] in the trace."),
    );
  });

  it("finishes what was submitted before it was disposed of, and nothing after", async () => {
    const own = deviceRuntime(await requestDevice());
    const program = await own.compile(own.store(), (t) => ({ y: square(t.input("x", [4])) }));
    const running = program.run({ x: [1, 2, 3, 4] });
    program.dispose();
    expect((await running)["y"]).toEqual(Float32Array.of(1, 4, 9, 16));
    await expect(program.run({ x: [1, 2, 3, 4] })).rejects.toThrow(
      new DeviceError("the program has been disposed of."),
    );
    expect(own.allocated()).toEqual({});
    own.dispose();
  });

  it("refuses a store of another runtime", async () => {
    await expect(runtime.compile(hostRuntime().store(), () => ({}))).rejects.toThrow(DeviceError);
  });
});

describe("memory", () => {
  it("is allocated as planned, kind by kind", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    declareMlp(store);
    const plan = own.plan(store, mlpStep);
    expect(own.allocated()).toEqual({});
    const program = await own.compile(store, mlpStep);
    expect(program.memory).toEqual(plan);
    const allocated = own.allocated();
    expect(Object.keys(allocated).sort()).toEqual(Object.keys(plan).sort());
    for (const [kind, bytes] of Object.entries(plan)) expect(Math.abs(allocated[kind]! / bytes - 1)).toBeLessThan(0.02);
    program.dispose();
    expect(own.allocated()["activations"]).toBeUndefined();
    own.dispose();
  });

  it("is shared by programs: two of them need little more than the larger", async () => {
    const own = deviceRuntime(await requestDevice());
    const evaluate = (size: number) => (t: Trace) => {
      const x = t.input("x", [size]);
      return { y: mul(square(x), add(x, square(x))) };
    };
    const small = await own.compile(own.store(), evaluate(1000));
    const before = await small.run({ x: new Float32Array(1000).fill(2) });
    const large = await own.compile(own.store(), evaluate(5000));
    expect(own.allocated()["activations"]).toBe(large.memory["activations"]);
    expect(await small.run({ x: new Float32Array(1000).fill(2) })).toEqual(before);
    large.dispose();
    expect(own.allocated()["activations"]).toBe(small.memory["activations"]);
    expect(await small.run({ x: new Float32Array(1000).fill(2) })).toEqual(before);
    own.dispose();
  });

  it("is refused beyond the cap, with the numbers and what to do", async () => {
    const own = deviceRuntime(await requestDevice({ memory: 1e6 }));
    const store = own.store();
    store.declare("w", { shape: [1000, 1000], dtype: "f32" });
    await expect(own.compile(store, (t) => ({ y: square(t.param("w", [1000, 1000])) }))).rejects.toThrow(
      /^needs 20\.0 MB of device memory \(activations 4\.00 MB, transfer 12\.0 MB, weights 4\.00 MB\); 0 B are allocated and 1\.00 MB allowed\. Take smaller batches/,
    );
    expect(own.allocated()).toEqual({});
    own.dispose();
  });

  it("is refused where one buffer would be larger than the adapter allows, and nothing is left behind", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    store.declare("w", { shape: [2 ** 30, 4], dtype: "f32" });
    const compiled = own.compile(store, (t) => ({
      y: apply(copyFour(COPY_FOUR, input(0, { offset: 0, size: 16 })), [t.param("w", [2 ** 30, 4])], {}),
    }));
    await expect(compiled).rejects.toThrow(/w needs a buffer of 17\.2 GB; this adapter's largest has/);
    expect(own.allocated()).toEqual({});
    own.dispose();
  });

  it("is not allocated after compiling, nor is anything else made", async () => {
    const store = runtime.store();
    declareMlp(store);
    const program = await runtime.compile(store, mlpStep);
    const creators = ["createBuffer", "createBindGroup", "createShaderModule", "createComputePipelineAsync"] as const;
    const spies = creators.map((name) => vi.spyOn(device.gpu, name));
    const allocated = runtime.allocated();
    for (let i = 0; i < 100; i++) await program.run(mlpBatch(i));
    for (const spy of spies) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
    expect(runtime.allocated()).toEqual(allocated);
    program.dispose();
  });
});

describe("the store on the device", () => {
  it("uploads only what a compiled program reaches", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    const read: string[] = [];
    for (const name of ["used", "unused"])
      store.declare(name, { shape: [64], dtype: "f32", values: () => (read.push(name), new Float32Array(64).fill(3)) });
    const program = await own.compile(store, (t) => ({ y: square(t.param("used", [64])) }));
    expect(read).toEqual(["used"]);
    expect(own.allocated()["weights"]).toBe(256);
    expect((await program.run({}))["y"]).toEqual(new Float32Array(64).fill(9));
    expect(await store.read("unused")).toEqual(new Float32Array(64).fill(3));
    expect(own.allocated()["weights"]).toBe(256);
    own.dispose();
  });

  it("keeps the gaps of a bucket zero while programs write its members", async () => {
    const store = runtime.store();
    const [{ size } = { size: 0 }] = store.group(
      "g",
      [
        { name: "a", shape: [5] },
        { name: "b", shape: [70] },
      ],
      "trainable",
    );
    const program = await runtime.compile(store, (t) => {
      assign(t.param("a", [5]), square(t.input("x", [5])));
      assign(t.param("b", [70]), square(t.input("y", [70])));
      return { total: sum(t.param("g#0", [size])) };
    });
    const { total } = await program.run({ x: new Float32Array(5).fill(1), y: new Float32Array(70).fill(2) });
    expect(total![0]).toBe(5 + 280);
    const bucket = await store.read("g#0");
    expect(bucket.filter((_, i) => (i >= 5 && i < BUCKET_BLOCK) || i >= BUCKET_BLOCK + 70).every((x) => x === 0)).toBe(
      true,
    );
    expect(await store.read("b")).toEqual(new Float32Array(70).fill(4));
    program.dispose();
  });

  it("writes and reads parameters, halves by their words", async () => {
    const store = runtime.store();
    store.declare("h", { shape: [3], dtype: "f16" });
    store.declare("i", { shape: [3], dtype: "i32" });
    await store.write("h", Uint16Array.of(0x3c00, 0xc000, 0x3800));
    await store.write("i", [1, -2, 3]);
    expect(await store.read("h")).toEqual(Float32Array.of(1, -2, 0.5));
    expect(await store.read("i")).toEqual(Float64Array.of(1, -2, 3));
    await expect(store.write("h", Float32Array.of(1, 2, 3))).rejects.toThrow(
      /h is stored in f16: give its 16-bit words/,
    );
    await expect(store.write("i", [1])).rejects.toThrow("i: got 1 values, wants 3.");
    store.delete("h", "i");
    expect(() => store.declaration("h")).toThrow(TraceError);
  });

  it("frees whole groups, and will not free a part of one", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    store.group(
      "g",
      [
        { name: "a", shape: [5] },
        { name: "b", shape: [7] },
      ],
      "trainable",
    );
    await store.write("a", [1, 2, 3, 4, 5]);
    expect(own.allocated()).toEqual({ trainable: 2 * 4 * BUCKET_BLOCK });
    expect(() => store.delete("a")).toThrow("a is part of g#0: delete the whole group.");
    store.delete("g");
    expect(own.allocated()).toEqual({});
    expect(store.has("b")).toBe(false);
    own.dispose();
  });

  it("holds a parameter larger than one binding, which kernels bind in parts", async () => {
    const store = runtime.store();
    const elements = runtime.maxBinding / 4 + 64;
    const offset = runtime.maxBinding;
    store.declare("large", {
      shape: [elements],
      dtype: "f32",
      values: () => new Float32Array(elements).fill(7, elements - 64),
    });
    const program = await runtime.compile(store, (t) => ({
      y: apply(copyFour(COPY_FOUR, input(0, { offset, size: 256 })), [t.param("large", [elements])], {}),
    }));
    expect((await program.run({}))["y"]).toEqual(new Float32Array(4).fill(7));
    const values = await store.read("large");
    expect([values.length, values[elements - 65], values[elements - 64]]).toEqual([elements, 0, 7]);
    program.dispose();
    store.delete("large");
  });
});

describe("the device", () => {
  it("runs the kernels for GPUs where asked to", async () => {
    const own = deviceRuntime(await requestDevice({ family: "tiles" }));
    const [{ losses }, want] = [await trainMlp(own, 2), await trainMlp(hostRuntime(), 2)];
    losses.forEach((loss, i) => expect(Math.abs(loss / want.losses[i]! - 1)).toBeLessThan(1e-5));
    own.dispose();
  });

  it("times every dispatch where asked to", async () => {
    const own = deviceRuntime(await requestDevice({ profile: true }));
    const program = await own.compile(own.store(), (t) => ({
      y: t.within("here", () => sum(square(t.input("x", [512, 512])), [1])),
    }));
    for (let i = 0; i < 3; i++) await program.run({ x: new Float32Array(2 ** 18) });
    const rows = await program.profile();
    expect(rows.every((row) => row.site === "here" && row.count === 3 && row.ms > 0 && row.bytes > 0)).toBe(true);
    own.dispose();
  });

  it("says so if nothing was timed", async () => {
    const program = await runtime.compile(runtime.store(), (t) => ({ y: scale(t.input("x", [4]), 2) }));
    await expect(program.profile()).rejects.toThrow(/ask for the device with `profile: true`/);
    program.dispose();
  });

  it("throws at the next run what went wrong on it, with the shader's text", async () => {
    const own = await requestDevice();
    const runtime = deviceRuntime(own);
    const program = await runtime.compile(runtime.store(), (t) => ({
      y: apply(copyFour(COPY_FOUR), [t.input("x", [4])], {}),
    }));
    const pipeline = own.gpu.createComputePipeline({
      label: "copy four",
      layout: "auto",
      compute: { module: own.gpu.createShaderModule({ code: COPY_FOUR }), entryPoint: "main" },
    });
    const uniform = own.gpu.createBuffer({ size: 16, usage: 0x40 });
    const layout = own.gpu.createBindGroupLayout({
      entries: [{ binding: 0, visibility: 4, buffer: { type: "uniform" } }],
    });
    const alien = own.gpu.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: uniform } }] });
    const encoder = own.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, alien);
    pass.dispatchWorkgroups(1);
    pass.end();
    own.gpu.queue.submit([encoder.finish()]);
    await own.gpu.queue.onSubmittedWorkDone();
    await expect(program.run({ x: [1, 2, 3, 4] })).rejects.toThrow(/bind group[^]*copy four[^]*y\[0\] = x\[0\];/i);
    runtime.dispose();
  });

  it("throws at the next run that it has been disposed of", async () => {
    const own = deviceRuntime(await requestDevice());
    const store = own.store();
    store.declare("w", { shape: [4], dtype: "f32" });
    const program = await own.compile(store, (t) => ({ y: square(t.input("x", [4])) }));
    own.dispose();
    await expect(program.run({ x: [1, 2, 3, 4] })).rejects.toThrow(new DeviceError("the device has been disposed of."));
    await expect(store.read("w")).rejects.toThrow(DeviceError);
  });
});
