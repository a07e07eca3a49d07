/** @file A compiled trace: allocated once, then replayed with one write, few submissions and one read a run. */
import { DeviceError, ShapeError } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { type Blueprint, INPUTS, STAGING } from "./blueprint.ts";
import { type Device, usage } from "./device.ts";
import { type Part, partsOf } from "./parts.ts";
import { waitFor } from "./patience.ts";
import type { Pipelines } from "./pipelines.ts";
import { Profiler, type ProfileRow } from "./profile.ts";
import type { MemoryPlan, Program, Source, Values } from "./runtime.ts";
import { describe, type Move } from "./schedule.ts";
import { decode, writer } from "./transfer.ts";
import type { Tenant, Workspace } from "./workspace.ts";

/** Memory that the programs of a runtime share: of activations, and of values that wait on the host. */
export interface Workspaces {
  readonly activations: Workspace;
  readonly host: Workspace;
}

/** One run of a program, while it is submitted. */
interface Submission {
  /** Where its results are copied to. */
  readonly staging: GPUBuffer | null;
  /** If it is timed; and when its times are known, once all of it is submitted. */
  profiler: Profiler | null;
  timed?: Promise<void>;
}

/** A program on a device. */
export class DeviceProgram implements Program {
  readonly memory: MemoryPlan;
  readonly text: string;
  readonly #device: Device;
  readonly #workspaces: Workspaces;
  readonly #tenancy: Readonly<Record<keyof Workspaces, Tenant>>;
  readonly #blueprint: Blueprint;
  /** What the caller gives, as it is uploaded. */
  readonly #given: ArrayBuffer;
  readonly #writers: readonly { readonly name: string; readonly write: (values: Source) => void }[];
  readonly #parts: readonly Part[];
  /** Whether a run waits for the host before all of it is submitted. */
  readonly #waits: boolean;
  /** The bytes of each value on the host, once they are there. */
  readonly #arrivals: Promise<ArrayBuffer>[] = [];
  /** Workgroups of each call, three numbers each. */
  readonly #grid: Uint32Array;
  /** Buffers of parameters, constants and inputs, by name. */
  #named: ReadonlyMap<string, GPUBuffer> = new Map();
  #inputs: GPUBuffer | null = null;
  #sizes: GPUBuffer | null = null;
  /** Staging buffers that no run is using. */
  readonly #staging: GPUBuffer[] = [];
  #profiler: Profiler | null = null;
  #disposed = false;
  #pipelines: readonly GPUComputePipeline[] = [];
  #groups: GPUBindGroup[] = [];
  #copies: readonly {
    readonly buffer: GPUBuffer;
    readonly from: number;
    readonly to: number;
    readonly bytes: number;
  }[] = [];

  /** A program that has no memory yet. */
  constructor(device: Device, workspaces: Workspaces, blueprint: Blueprint) {
    const { slots, held } = blueprint.schedule;
    const rebind = (): void => this.#rebind();
    this.#device = device;
    this.#workspaces = workspaces;
    this.#tenancy = { activations: { slots, rebind }, host: { slots: held, rebind } };
    this.#blueprint = blueprint;
    this.memory = blueprint.memory;
    this.text = describe(blueprint.schedule);
    this.#parts = partsOf(blueprint.schedule);
    this.#waits = this.#parts.some(({ restores }) => restores.length > 0);
    this.#grid = Uint32Array.from(blueprint.schedule.calls.flatMap((call) => call.workgroups));
    this.#given = new ArrayBuffer(blueprint.inputBytes);
    this.#writers = blueprint.inputs.map(({ name, shape, dtype, offset }) => ({
      name,
      write: writer(`input ${name}`, dtype, this.#given, offset, sizeOf(shape)),
    }));
  }

  /**
   * Allocates all that the program owns; call it inside `Device.allocate`.
   * @param shared the buffers of parameters and constants, by name.
   */
  allocate(shared: ReadonlyMap<string, GPUBuffer>): void {
    const { inputBytes, outputBytes, sizes, schedule } = this.#blueprint;
    this.#named = shared;
    if (inputBytes > 0) {
      this.#inputs = this.#device.buffer("transfer", INPUTS, inputBytes, usage.storage);
      this.#named = new Map([...shared, [INPUTS, this.#inputs]]);
    }
    if (sizes.length > 0) {
      this.#sizes = this.#device.buffer("transfer", "sizes", sizes.byteLength, usage.uniform);
      this.#device.gpu.queue.writeBuffer(this.#sizes, 0, sizes);
    }
    if (outputBytes > 0) for (let i = 0; i < STAGING; i++) this.#staging.push(this.#newStaging());
    if (this.#device.timed) this.#profiler = new Profiler(this.#device, schedule.calls);
    this.#workspaces.activations.admit(this.#tenancy.activations);
    this.#workspaces.host.admit(this.#tenancy.host);
  }

  /** Compiles the kernels and binds their operands. */
  async prepare(pipelines: Pipelines): Promise<void> {
    this.#pipelines = await Promise.all(this.#blueprint.schedule.calls.map(({ kernel }) => pipelines.get(kernel)));
    await this.#device.allocate(() => this.#rebind());
  }

  #rebind(): void {
    const { gpu } = this.#device;
    const { schedule, sizesOf, outputs } = this.#blueprint;
    if (this.#pipelines.length < schedule.calls.length) return; // not prepared yet
    this.#groups = schedule.calls.map(({ bindings, sizes, kernel }, i) => {
      const entries = bindings.map(({ buffer, offset, size }, binding): GPUBindGroupEntry => {
        return { binding, resource: { buffer: this.#buffer(buffer), offset, size } };
      });
      if (this.#sizes !== null && sizes.length > 0)
        entries.push({
          binding: bindings.length,
          resource: { buffer: this.#sizes, offset: sizesOf[i] ?? 0, size: Math.ceil(sizes.length / 4) * 16 },
        });
      const pipeline = this.#pipelines[i] as GPUComputePipeline; // one for each call
      return gpu.createBindGroup({ label: kernel.label, layout: pipeline.getBindGroupLayout(0), entries });
    });
    this.#copies = schedule.outputs.map(({ buffer, offset, size }, i) => {
      return { buffer: this.#buffer(buffer), from: offset, to: outputs[i]?.offset ?? 0, bytes: size };
    });
  }

  async run(inputs: Readonly<Record<string, Source>>): Promise<Readonly<Record<string, Values>>> {
    this.#device.check();
    if (this.#disposed) throw new DeviceError("the program has been disposed of.");
    const { queue } = this.#device.gpu;
    for (const { name, write } of this.#writers) {
      const values = inputs[name];
      if (values === undefined) throw new ShapeError(`run: input ${name} is missing.`);
      write(values);
    }
    const { turns } = this.#device;
    const given = turns.free ? this.#given : this.#given.slice(0); // the next run may be given its inputs first
    const staging = this.#staging.pop() ?? (this.#blueprint.outputBytes > 0 ? this.#newStaging() : null);
    const submission: Submission = { staging, profiler: null };
    const submitted = turns.take(() => {
      if (this.#profiler?.ready === true) submission.profiler = this.#profiler;
      if (this.#inputs !== null) queue.writeBuffer(this.#inputs, 0, given);
      if (this.#waits) return this.#submitInTurn(submission);
      for (const part of this.#parts) this.#submit(part, submission);
      return undefined;
    });
    if (submitted !== undefined) await submitted;
    const arrived = staging === null ? this.#device.gpu.queue.onSubmittedWorkDone() : staging.mapAsync(usage.mapRead);
    await waitFor(Promise.all([this.#arrived(arrived, "the results"), submission.timed]), this.#device.nap);
    this.#device.check();
    return staging === null ? {} : this.#read(staging);
  }

  /** Time of each kernel at each site since the program was compiled. @throws {DeviceError} unless the device was asked for with `profile`. */
  async profile(): Promise<readonly ProfileRow[]> {
    if (this.#profiler === null) throw new DeviceError("nothing was timed: ask for the device with `profile: true`.");
    return this.#profiler.rows();
  }

  dispose(): void {
    this.#disposed = true;
    void this.#device.turns.take(() => {
      this.#workspaces.activations.dismiss(this.#tenancy.activations);
      this.#workspaces.host.dismiss(this.#tenancy.host);
      this.#profiler?.dispose();
      for (const buffer of [this.#inputs, this.#sizes, ...this.#staging.splice(0)])
        if (buffer !== null) this.#device.free(buffer);
      return undefined;
    });
  }

  /** Submits a run that waits for values on the host; the device works on what is submitted meanwhile. */
  async #submitInTurn(submission: Submission): Promise<void> {
    for (const part of this.#parts) {
      for (const move of part.restores) await this.#restore(move);
      this.#submit(part, submission);
    }
  }

  /** Writes a value on the host back, after all that is submitted. */
  async #restore({ device, held, last }: Move): Promise<void> {
    const arrival = this.#arrivals[held] as Promise<ArrayBuffer>; // it was kept before
    const bytes = await waitFor(this.#arrived(arrival, "values that wait on the host"), this.#device.nap);
    this.#device.gpu.queue.writeBuffer(this.#buffer(device.buffer), device.offset, bytes);
    if (last) this.#workspaces.host.slot(held).unmap();
    await waitFor(this.#device.handed(device.size), this.#device.nap);
  }

  #submit(part: Part, submission: Submission): void {
    const { gpu } = this.#device;
    const { from, to, keeps } = part;
    const { staging, profiler } = submission;
    const grid = this.#grid;
    const groups = this.#groups;
    const pipelines = this.#pipelines;
    const encoder = gpu.createCommandEncoder();
    if (profiler === null) {
      const pass = encoder.beginComputePass();
      let current: GPUComputePipeline | undefined;
      for (let next = from; next < to; next++) {
        const pipeline = pipelines[next] as GPUComputePipeline; // one for each call
        if (pipeline !== current) pass.setPipeline((current = pipeline));
        pass.setBindGroup(0, groups[next]);
        pass.dispatchWorkgroups(grid[3 * next] as number, grid[3 * next + 1], grid[3 * next + 2]);
      }
      pass.end();
    } else {
      for (let next = from; next < to; next++) {
        const pass = encoder.beginComputePass(profiler.passes[next]);
        pass.setPipeline(pipelines[next] as GPUComputePipeline); // one for each call
        pass.setBindGroup(0, groups[next]);
        pass.dispatchWorkgroups(grid[3 * next] as number, grid[3 * next + 1], grid[3 * next + 2]);
        pass.end();
      }
    }
    for (const { device, held } of keeps)
      encoder.copyBufferToBuffer(
        this.#buffer(device.buffer),
        device.offset,
        this.#workspaces.host.slot(held),
        0,
        device.size,
      );
    const isLast = part === this.#parts.at(-1);
    if (isLast) {
      if (staging !== null)
        for (const { buffer, from, to, bytes } of this.#copies)
          encoder.copyBufferToBuffer(buffer, from, staging, to, bytes);
      profiler?.resolve(encoder);
    }
    gpu.queue.submit([encoder.finish()]);
    if (isLast && profiler !== null) submission.timed = profiler.collect();
    for (const { device, held } of keeps) {
      const host = this.#workspaces.host.slot(held);
      const arrival = host.mapAsync(usage.mapRead, 0, device.size).then(() => host.getMappedRange(0, device.size));
      arrival.catch(() => undefined); // it is thrown where the value is needed
      this.#arrivals[held] = arrival;
    }
  }

  /** Resolves when bytes that the device is to hand over are there. */
  async #arrived<T>(result: Promise<T>, what: string): Promise<T> {
    try {
      return await result;
    } catch (cause) {
      this.#device.check(); // the reason, if the device knows it
      throw new DeviceError(`${what} could not be read back.`, { cause });
    }
  }

  #read(staging: GPUBuffer): Record<string, Values> {
    const bytes = staging.getMappedRange();
    const values = Object.fromEntries(
      this.#blueprint.outputs.map(({ name, shape, dtype, offset }) => [
        name,
        decode(dtype, bytes, offset, sizeOf(shape)),
      ]),
    );
    staging.unmap();
    if (this.#disposed) this.#device.free(staging);
    else this.#staging.push(staging);
    return values;
  }

  #newStaging(): GPUBuffer {
    return this.#device.buffer("transfer", "outputs", this.#blueprint.outputBytes, usage.staging);
  }

  #buffer(of: string | number): GPUBuffer {
    if (typeof of === "number") return this.#workspaces.activations.slot(of);
    const buffer = this.#named.get(of);
    if (buffer === undefined) throw new DeviceError(`the program has no buffer ${of}.`);
    return buffer;
  }
}
