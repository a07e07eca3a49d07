/** @file Which parameters there are and where each lies: in a buffer of its own, or beside others in a bucket. No GPU here. */
import { TraceError } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import type { Stretch } from "../trace/memory.ts";
import { bytesOf } from "./placement.ts";
import { type Bucket, type Declaration, layoutGroup, type Member } from "./runtime.ts";
import { padded } from "./transfer.ts";

/** A buffer: one parameter, or a bucket of several. */
export interface Block {
  readonly kind: string;
  readonly bytes: number;
  /** The parameters in it. */
  readonly parts: readonly string[];
}

interface Entry {
  readonly declaration: Declaration;
  readonly place: Stretch;
}

/** Parameters by name and the buffers they would lie in. Parameters of one group share buffers; every other has its own. */
export class StoreLayout {
  readonly #maxBinding: number;
  readonly #entries = new Map<string, Entry>();
  readonly #blocks = new Map<string, Block>();
  readonly #groups = new Map<string, readonly string[]>();

  /** @param maxBinding largest bucket, in bytes. */
  constructor(maxBinding: number) {
    this.#maxBinding = maxBinding;
  }

  declare(name: string, declaration: Declaration): void {
    const bytes = bytesOf(declaration);
    this.#enter(name, { declaration, place: { buffer: name, offset: 0, bytes } });
    this.#blocks.set(name, { kind: declaration.kind ?? "weights", bytes: padded(bytes), parts: [name] });
  }

  group(name: string, members: readonly Member[], kind: string): readonly Bucket[] {
    const sources = new Map(members.map((m) => [m.name, m.values]));
    const buckets = layoutGroup(name, members, this.#maxBinding);
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
      this.#blocks.set(bucket.name, { kind, bytes, parts: bucket.members.map((m) => m.name) });
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

  /** What a buffer holds. */
  block(buffer: string): Block {
    const block = this.#blocks.get(buffer);
    if (block === undefined) throw new TraceError(`the store has no buffer ${buffer}.`);
    return block;
  }

  /** Buffers that hold parameters or whole groups. @throws {TraceError} for a part of a group. */
  buffersOf(names: readonly string[]): readonly string[] {
    return names
      .flatMap((name) => this.#groups.get(name) ?? [name])
      .map((name) => {
        const { buffer } = this.place(name);
        if (buffer !== name) throw new TraceError(`${name} is part of ${buffer}: delete the whole group.`);
        return name;
      });
  }

  delete(...names: readonly string[]): void {
    for (const buffer of this.buffersOf(names)) {
      for (const part of [buffer, ...this.block(buffer).parts]) this.#entries.delete(part);
      this.#blocks.delete(buffer);
    }
    for (const name of names) this.#groups.delete(name);
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
