/** @file Named parameters on the device: uploaded when a compiled program first reaches them, alone or side by side in buckets. */
import { bytesPerElement } from "../dtype.ts";
import { sizeOf } from "../shape.ts";
import { type Device, usage } from "./device.ts";
import { StoreLayout } from "./layout.ts";
import { eachPiece, type Source, type Store, type Values } from "./runtime.ts";
import { checkLength, decode, download, pack, upload } from "./transfer.ts";

/** A buffer of the store on the device. */
interface Memory {
  readonly buffer: GPUBuffer;
  /** Settled when the values declared have been uploaded; null before that has begun. */
  filled: Promise<void> | null;
}

/** The device's store. */
export class DeviceStore extends StoreLayout implements Store {
  readonly device: Device;
  readonly #memory = new Map<string, Memory>();

  constructor(device: Device) {
    super(device.target.maxBinding);
    this.device = device;
  }

  /** Whether a buffer has been allocated. */
  isAllocated(buffer: string): boolean {
    return this.#memory.has(buffer);
  }

  /** Allocates a buffer if it is not there yet. Call it inside `Device.allocate`; its values are not there before `fill`. */
  allocate(buffer: string): GPUBuffer {
    let memory = this.#memory.get(buffer);
    if (memory === undefined) {
      const { kind, bytes } = this.block(buffer);
      memory = { buffer: this.device.buffer(kind, buffer, bytes, usage.storage), filled: null };
      this.#memory.set(buffer, memory);
    }
    return memory.buffer;
  }

  /** Uploads the values declared for an allocated buffer, once; what has none is zero, as WebGPU's memory is. */
  async fill(buffer: string): Promise<void> {
    const memory = this.#memory.get(buffer);
    if (memory !== undefined) await (memory.filled ??= this.#fill(this.block(buffer).parts, memory.buffer));
  }

  /** Gives back buffers that could not all be allocated. */
  release(buffers: readonly string[]): void {
    for (const name of buffers) {
      const memory = this.#memory.get(name);
      if (memory !== undefined) this.device.free(memory.buffer);
      this.#memory.delete(name);
    }
  }

  async read(name: string): Promise<Values> {
    const { shape, dtype, values } = this.declaration(name);
    const { buffer, offset } = this.place(name);
    this.device.check();
    const size = sizeOf(shape);
    // What no program has reached is what was declared.
    if (!this.isAllocated(buffer) && values !== undefined)
      return decode(dtype, await pack(name, dtype, await values(), size), 0, size);
    await this.#materialize(buffer);
    return download(this.device, this.allocate(buffer), offset, dtype, size);
  }

  async write(name: string, values: Source): Promise<void> {
    const { shape, dtype } = this.declaration(name);
    const { buffer, offset } = this.place(name);
    this.device.check();
    checkLength(name, values, sizeOf(shape));
    await this.#materialize(buffer);
    await upload(this.device, name, this.allocate(buffer), offset, dtype, values);
  }

  override delete(...names: readonly string[]): void {
    this.release(this.buffersOf(names));
    super.delete(...names);
  }

  async #materialize(buffer: string): Promise<void> {
    if (!this.isAllocated(buffer))
      await this.device.allocate(
        () => this.allocate(buffer),
        () => this.release([buffer]),
      );
    await this.fill(buffer);
  }

  async #fill(parts: readonly string[], buffer: GPUBuffer): Promise<void> {
    for (const part of parts) {
      const { values, shape, dtype } = this.declaration(part);
      const { offset } = this.place(part);
      if (values === undefined) continue;
      const width = bytesPerElement[dtype];
      await eachPiece(part, await values(), sizeOf(shape), (piece, at) =>
        upload(this.device, part, buffer, offset + at * width, dtype, piece),
      );
    }
  }
}
