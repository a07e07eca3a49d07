/** @file Memory for one run at a time, shared by the programs of a runtime: they never run at the same time. */
import type { Device } from "./device.ts";

/** What a program wants of the workspace. */
export interface Tenant {
  /** Bytes of its slots, largest first. */
  readonly slots: readonly number[];
  /** Called when slots were replaced: whatever refers to their buffers must be made anew. */
  rebind(): void;
}

/** Slots by rank: the k-th is as large as the largest k-th slot of any tenant, so the sum stays near the largest tenant's. */
export class Workspace {
  readonly #device: Device;
  readonly #kind: string;
  readonly #flags: GPUBufferUsageFlags;
  readonly #tenants = new Set<Tenant>();
  readonly #slots: GPUBuffer[] = [];

  /** @param kind what its bytes are counted as. */
  constructor(device: Device, kind: string, flags: GPUBufferUsageFlags) {
    this.#device = device;
    this.#kind = kind;
    this.#flags = flags;
  }

  /** Bytes by which a further tenant would make the workspace grow. */
  growth(slots: readonly number[]): number {
    return slots.reduce((sum, bytes, k) => sum + Math.max(0, bytes - (this.#slots[k]?.size ?? 0)), 0);
  }

  /** Makes room for a tenant. Call it inside `Device.allocate`. The tenant binds itself afterwards. */
  admit(tenant: Tenant): void {
    const others = [...this.#tenants];
    this.#tenants.add(tenant);
    if (this.#fit()) for (const other of others) other.rebind();
  }

  /** Gives back what no other tenant needs. */
  dismiss(tenant: Tenant): void {
    if (this.#tenants.delete(tenant) && this.#fit()) for (const other of this.#tenants) other.rebind();
  }

  /** The buffer of a tenant's k-th slot. */
  slot(k: number): GPUBuffer {
    const buffer = this.#slots[k];
    if (buffer === undefined) throw new RangeError(`the workspace has ${this.#slots.length} slots, not ${k + 1}.`);
    return buffer;
  }

  /** Gives every slot the size it must have; true if one was replaced that may be in use. */
  #fit(): boolean {
    const wanted: number[] = [];
    for (const { slots } of this.#tenants) slots.forEach((bytes, k) => (wanted[k] = Math.max(wanted[k] ?? 0, bytes)));
    let replaced = false;
    for (const gone of this.#slots.splice(wanted.length)) this.#device.free(gone);
    wanted.forEach((bytes, k) => {
      const old = this.#slots[k];
      if (old?.size === bytes) return;
      if (old !== undefined) {
        this.#device.free(old);
        replaced = true;
      }
      this.#slots[k] = this.#device.buffer(this.#kind, `${this.#kind}, slot ${k}`, bytes, this.#flags);
    });
    return replaced;
  }
}
