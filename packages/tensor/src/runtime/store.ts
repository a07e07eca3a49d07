/** @file Named parameters on the device: uploaded when a compiled program first reaches them, alone or side by side in buckets. */
import { bytesPerElement } from "../dtype.ts";
import { TraceError } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import type { Stretch } from "../trace/memory.ts";
import { type Device, usage } from "./device.ts";
import { bytesOf } from "./placement.ts";
import {
  type Bucket,
  type Declaration,
  eachPiece,
  layoutGroup,
  type Member,
  type Source,
  type Store,
  type Values,
} from "./runtime.ts";
import { checkLength, decode, download, pack, padded, upload } from "./transfer.ts";

/** A buffer of the store: one parameter, or a bucket of several. */
interface Block {
  readonly kind: string;
  readonly bytes: number;
  readonly parts: readonly string[];
  buffer: GPUBuffer | null;
  /** Settled when the values declared have been uploaded. */
  filled: Promise<void> | null;
}

interface Entry {
  readonly declaration: Declaration;
  readonly place: Stretch;
}

/** The device's store. Parameters of one group share buffers; every other parameter has its own. */
export class DeviceStore implements Store {
  readonly device: Device;
  readonly #entries = new Map<string, Entry>();
  readonly #blocks = new Map<string, Block>();
  readonly #groups = new Map<string, readonly string[]>();

  constructor(device: Device) {
    this.device = device;
  }

  declare(name: string, declaration: Declaration): void {
    const bytes = bytesOf(declaration);
    this.#enter(name, { declaration, place: { buffer: name, offset: 0, bytes } });
    this.#blocks.set(name, {
      kind: declaration.kind ?? "weights",
      bytes: padded(bytes),
      parts: [name],
      buffer: null,
      filled: null,
    });
  }

  group(name: string, members: readonly Member[], kind: string): readonly Bucket[] {
    const sources = new Map(members.map((m) => [m.name, m.values]));
    const buckets = layoutGroup(name, members, this.device.target.maxBinding);
    for (const bucket of buckets) {
      const bytes = bucket.size * 4;
      this.#enter(bucket.name, {
        declaration: { shape: [bucket.size], dtype: "f32", kind },
        place: { buffer: bucket.name, offset: 0, bytes },
      });
      for (const { name: member, shape, offset } of bucket.members) {
        const values = sources.get(member);
        this.#enter(member, {
          declaration: { shape, dtype: "f32", kind, ...(values && { values }) },
          place: { buffer: bucket.name, offset: offset * 4, bytes: sizeOf(shape) * 4 },
        });
      }
      this.#blocks.set(bucket.name, {
        kind,
        bytes,
        parts: bucket.members.map((m) => m.name),
        buffer: null,
        filled: null,
      });
    }
    this.#groups.set(
      name,
      buckets.map((b) => b.name),
    );
    return buckets;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  declaration(name: string): Declaration {
    return this.#entry(name).declaration;
  }

  /** Where a parameter lies. The buffer is the parameter itself or its bucket. */
  place(name: string): Stretch {
    return this.#entry(name).place;
  }

  /** What a buffer holds, its bytes, and whether it has been allocated. */
  footprint(buffer: string): { readonly kind: string; readonly bytes: number; readonly allocated: boolean } {
    const { kind, bytes, buffer: memory } = this.#block(buffer);
    return { kind, bytes, allocated: memory !== null };
  }

  /** Allocates a buffer if it is not there yet. Call it inside `Device.allocate`; its values are not there before `fill`. */
  allocate(buffer: string): GPUBuffer {
    const block = this.#block(buffer);
    return (block.buffer ??= this.device.buffer(block.kind, buffer, block.bytes, usage.storage));
  }

  /** Uploads the values declared for an allocated buffer, once; what has none is zero, as WebGPU's memory is. */
  fill(buffer: string): Promise<void> {
    const block = this.#block(buffer);
    return (block.filled ??= this.#fill(block));
  }

  /** Gives back buffers that could not all be allocated. */
  release(buffers: readonly string[]): void {
    for (const block of buffers.map((name) => this.#block(name))) {
      if (block.buffer !== null) this.device.free(block.buffer);
      block.buffer = null;
      block.filled = null;
    }
  }

  async read(name: string): Promise<Values> {
    const { declaration, place } = this.#entry(name);
    const { shape, dtype, values } = declaration;
    this.device.check();
    const size = sizeOf(shape);
    // What no program has reached is what was declared.
    if (!this.footprint(place.buffer).allocated && values !== undefined)
      return decode(dtype, await pack(name, dtype, await values(), size), 0, size);
    await this.#materialize(place.buffer);
    return download(this.device, this.allocate(place.buffer), place.offset, dtype, size);
  }

  async write(name: string, values: Source): Promise<void> {
    const { declaration, place } = this.#entry(name);
    this.device.check();
    checkLength(name, values, sizeOf(declaration.shape));
    await this.#materialize(place.buffer);
    await upload(this.device, name, this.allocate(place.buffer), place.offset, declaration.dtype, values);
  }

  delete(...names: readonly string[]): void {
    for (const name of names.flatMap((n) => this.#groups.get(n) ?? [n])) {
      const { place } = this.#entry(name);
      if (place.buffer !== name) throw new TraceError(`${name} is part of ${place.buffer}: delete the whole group.`);
      const { parts } = this.#block(name);
      this.release([name]);
      for (const part of [name, ...parts]) this.#entries.delete(part);
      this.#blocks.delete(name);
    }
    for (const name of names) this.#groups.delete(name);
  }

  async #materialize(buffer: string): Promise<void> {
    if (!this.footprint(buffer).allocated)
      await this.device.allocate(
        () => this.allocate(buffer),
        () => this.release([buffer]),
      );
    await this.fill(buffer);
  }

  async #fill({ parts, buffer }: Block): Promise<void> {
    for (const part of parts) {
      const { declaration, place } = this.#entry(part);
      const { values, shape, dtype } = declaration;
      if (values === undefined || buffer === null) continue;
      const width = bytesPerElement[dtype];
      await eachPiece(part, await values(), sizeOf(shape), (piece, at) =>
        upload(this.device, part, buffer, place.offset + at * width, dtype, piece),
      );
    }
  }

  #block(buffer: string): Block {
    const block = this.#blocks.get(buffer);
    if (block === undefined) throw new TraceError(`the store has no buffer ${buffer}.`);
    return block;
  }

  #enter(name: string, entry: Entry): void {
    if (this.#entries.has(name)) throw new TraceError(`${name} is declared twice.`);
    this.#entries.set(name, entry);
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new TraceError(`the store has no parameter ${name}.`);
    return entry;
  }
}
