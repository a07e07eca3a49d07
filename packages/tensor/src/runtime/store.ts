/** @file Named parameters on the device: uploaded when a compiled program first reaches them, alone or side by side in buckets. */
import { bytesPerElement } from "../dtype.ts";
import { sizeOf } from "../shape.ts";
import { type Device, usage } from "./device.ts";
import { StoreLayout } from "./layout.ts";
import { eachPiece, type Source, type Store, type Values } from "./runtime.ts";
import { checkLength, decode, download, downloadBytes, pack, upload, writer } from "./transfer.ts";

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
  /** What buffers held that have been parked. */
  readonly #parked = new Map<string, ArrayBuffer>();

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

  /**
   * Uploads what an allocated buffer held when it was parked, or the values declared for it, once; what has neither is zero, as
   * WebGPU's memory is.
   */
  async fill(buffer: string): Promise<void> {
    const memory = this.#memory.get(buffer);
    if (memory !== undefined) await (memory.filled ??= this.#fill(buffer, memory.buffer));
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
    await this.device.turns.take(() => undefined);
    const size = sizeOf(shape);
    const parked = this.#parked.get(buffer);
    if (parked !== undefined) return decode(dtype, parked, offset, size);
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
    await this.device.turns.take(() => undefined);
    const size = sizeOf(shape);
    const parked = this.#parked.get(buffer);
    if (parked !== undefined) return writer(name, dtype, parked, offset, size)(values);
    checkLength(name, values, size);
    await this.#materialize(buffer);
    await upload(this.device, name, this.allocate(buffer), offset, dtype, values);
  }

  async park(...names: readonly string[]): Promise<void> {
    await this.device.turns.take(() => undefined);
    for (const name of this.buffersOf(names)) {
      const memory = this.#memory.get(name);
      if (memory === undefined) continue;
      await this.fill(name);
      this.#parked.set(name, await downloadBytes(this.device, memory.buffer, 0, this.block(name).bytes));
      this.release([name]);
    }
  }

  override delete(...names: readonly string[]): void {
    const buffers = this.buffersOf(names);
    this.release(buffers);
    for (const buffer of buffers) this.#parked.delete(buffer);
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

  async #fill(name: string, buffer: GPUBuffer): Promise<void> {
    const parked = this.#parked.get(name);
    if (parked !== undefined) {
      await upload(this.device, name, buffer, 0, "u32", new Uint32Array(parked)); // words, whatever they stand for
      this.#parked.delete(name);
      return;
    }
    for (const part of this.block(name).parts) {
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
