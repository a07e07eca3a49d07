/** @file Time of every dispatch, by timestamp queries, summed by kernel and by site. */
import { type Device, usage } from "./device.ts";
import type { Call } from "./schedule.ts";

/** Dispatches of one kernel at one site. */
export interface ProfileRow {
  /** The kernel's name. */
  readonly label: string;
  /** Where in the model. */
  readonly site: string;
  /** Dispatches timed. */
  readonly count: number;
  /** Milliseconds on the device, all of them together. */
  readonly ms: number;
  /** Floating-point operations and bytes moved as the kernels state them; 0 where they do not. */
  readonly flops: number;
  readonly bytes: number;
}

/** Queries in one set, as WebGPU limits them: two for each dispatch. */
const QUERIES = 4096;
/** Bytes of one timestamp. */
const STAMP = 8;

/** Times the calls of one program. A run that starts while the times of the last are still being read is not timed. */
export class Profiler {
  readonly #device: Device;
  readonly #calls: readonly Call[];
  readonly #sets: readonly GPUQuerySet[];
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  readonly #ms: Float64Array;
  /** What each call's pass is begun with. */
  readonly passes: readonly GPUComputePassDescriptor[];
  #runs = 0;
  #reading: Promise<void> | null = null;

  /** Allocates; make it inside `Device.allocate`. */
  constructor(device: Device, calls: readonly Call[]) {
    this.#device = device;
    this.#calls = calls;
    this.#ms = new Float64Array(calls.length);
    const queries = 2 * calls.length;
    const sets = Array.from({ length: Math.ceil(queries / QUERIES) }, (_, k) =>
      device.gpu.createQuerySet({ type: "timestamp", count: Math.min(QUERIES, queries - k * QUERIES) }),
    );
    this.#sets = sets;
    this.passes = calls.map(({ kernel }, i) => {
      const at = (2 * i) % QUERIES;
      const querySet = sets[Math.floor((2 * i) / QUERIES)] as GPUQuerySet; // there are sets for all calls
      return {
        label: kernel.label,
        timestampWrites: { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 },
      };
    });
    const bytes = Math.max(STAMP, queries * STAMP);
    this.#resolved = device.buffer("transfer", "timestamps", bytes, usage.queries);
    this.#staging = device.buffer("transfer", "timestamps read back", bytes, usage.staging);
  }

  /** Whether the next run can be timed. */
  get ready(): boolean {
    return this.#reading === null;
  }

  /** Copies the times out, at the end of a timed run. */
  resolve(encoder: GPUCommandEncoder): void {
    this.#sets.forEach((set, k) => encoder.resolveQuerySet(set, 0, set.count, this.#resolved, k * QUERIES * STAMP));
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, this.#staging.size);
  }

  /** Adds the times of the run just submitted. */
  collect(): Promise<void> {
    this.#reading = this.#add().finally(() => (this.#reading = null));
    return this.#reading;
  }

  async #add(): Promise<void> {
    await this.#staging.mapAsync(usage.mapRead);
    const stamps = new BigUint64Array(this.#staging.getMappedRange());
    this.#ms.forEach((known, i) => {
      const elapsed = Number((stamps[2 * i + 1] ?? 0n) - (stamps[2 * i] ?? 0n)) / 1e6;
      this.#ms[i] = known + Math.max(0, elapsed); // clocks of some drivers step back
    });
    this.#staging.unmap();
    this.#runs++;
  }

  /** Sums since the program was compiled, dearest first. */
  async rows(): Promise<readonly ProfileRow[]> {
    await this.#reading;
    const rows = new Map<
      string,
      { label: string; site: string; count: number; ms: number; flops: number; bytes: number }
    >();
    this.#calls.forEach(({ kernel, label: site, cost }, i) => {
      const key = `${kernel.label}\n${site}`;
      const row = rows.get(key) ?? { label: kernel.label, site, count: 0, ms: 0, flops: 0, bytes: 0 };
      rows.set(key, row);
      row.count += this.#runs;
      row.ms += this.#ms[i] ?? 0;
      row.flops += this.#runs * (cost?.flops ?? 0);
      row.bytes += this.#runs * (cost?.bytes ?? 0);
    });
    return [...rows.values()].sort((a, b) => b.ms - a.ms);
  }

  dispose(): void {
    for (const set of this.#sets) set.destroy();
    this.#device.free(this.#resolved);
    this.#device.free(this.#staging);
  }
}
