/** @file The GPU: how it is asked for, what it can do, what is allocated on it and what went wrong on it. */
import { DeviceError } from "../errors.ts";
import type { Target } from "../kernels/target.ts";
import { deviceBytes, type MemoryPlan, OFFLOADED } from "./runtime.ts";
import { Turns } from "./turns.ts";

/** What to ask for. */
export interface DeviceOptions {
  /** The WebGPU implementation; `navigator.gpu`, or the npm package `webgpu` where there is none. */
  readonly gpu?: GPU;
  /** Bytes that may be allocated; without it, whatever the driver gives. WebGPU does not tell how much a device has. */
  readonly memory?: number;
  /** Time every dispatch with timestamp queries. Slower; off unless asked for. */
  readonly profile?: boolean;
  /** Kernels to use, whatever the adapter is. */
  readonly family?: Target["family"];
}

/** Bits of `GPUBufferUsage` and `GPUMapMode`, which are globals in browsers only. */
export const usage = {
  /** Storage that can be written from the host and copied from. */
  storage: 0x0080 | 0x0008 | 0x0004,
  uniform: 0x0040 | 0x0008,
  /** Copied to on the device, mapped for reading on the host. */
  staging: 0x0001 | 0x0008,
  /** Timestamps, before they are copied out. */
  queries: 0x0200 | 0x0004,
  mapRead: 0x0001,
} as const;

/** Bytes that the queue may be handed before it is waited for. */
const IN_FLIGHT = 2 ** 26;

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/**
 * Asks for a device with all the adapter has to offer.
 * @throws {DeviceError} if there is no WebGPU, no adapter, or the adapter cannot do what was asked for.
 */
export async function requestDevice(options: DeviceOptions = {}): Promise<Device> {
  const found = options.gpu ?? globalThis.navigator?.gpu;
  const { gpu, nap } = found === undefined ? await (await import("./node.ts")).nodeGpu() : { gpu: found, nap: null };
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null)
    throw new DeviceError(
      "WebGPU finds no adapter. On Linux without a GPU, install Mesa's software driver (mesa-vulkan-drivers, 24 or newer).",
    );
  const timed = options.profile === true;
  if (timed && !adapter.features.has("timestamp-query"))
    throw new DeviceError(`${nameOf(adapter.info)} has no timestamp queries: leave out \`profile\`.`);
  const features = (["subgroups", "shader-f16", "timestamp-query"] as const).filter(
    (feature) => adapter.features.has(feature) && (feature !== "timestamp-query" || timed),
  );
  const device = await adapter.requestDevice({
    requiredFeatures: features,
    requiredLimits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
  });
  return new Device(gpu, device, adapter.info, { ...options, nap });
}

const ADVICE = "Take smaller batches or shorter sequences, checkpoint activations, or store frozen weights in f16.";

/** The adapter in words. */
const nameOf = ({ description, device, architecture, vendor }: GPUAdapterInfo): string =>
  description || device || [vendor, architecture].join(" ").trim() || "an unnamed adapter";

/** Which kernels suit an adapter: CPUs in disguise have subgroups of one size and want no shared memory. */
function targetOf(info: GPUAdapterInfo, { features, limits }: GPUDevice, family: Target["family"] | undefined): Target {
  const fixed = features.has("subgroups") && info.subgroupMinSize === info.subgroupMaxSize;
  const software = `${info.vendor} ${info.architecture}`;
  const cpu = software === "mesa software" || software === "google swiftshader";
  if (family === "lanes" && !fixed)
    throw new DeviceError(`${nameOf(info)} has no subgroups of a fixed size: the family "lanes" needs them.`);
  return {
    family: family ?? (cpu && fixed ? "lanes" : "tiles"),
    subgroup: fixed ? info.subgroupMinSize : 0,
    maxBinding: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
  };
}

/**
 * A device with its account of memory; `requestDevice` makes it. Whatever fails on it later is thrown by the next `check`.
 */
export class Device {
  /** Instances outlive their devices, whoever made them: see runtime/node.ts. */
  static readonly #instances = new Set<GPU>();

  readonly gpu: GPUDevice;
  readonly name: string;
  readonly target: Target;
  /** Whether dispatches are timed. */
  readonly timed: boolean;
  /** How to wait where waiting for a result polls; null where it does not. */
  readonly nap: ((ms: number) => Promise<void>) | null;
  /** Runs take their turns at the queue. */
  readonly turns = new Turns();
  /** Labels of the shaders compiled so far, by text, for messages. */
  readonly shaders = new Map<string, string>();
  readonly #cap: number;
  readonly #buffers = new Map<GPUBuffer, { readonly kind: string; readonly bytes: number }>();
  #bytes = 0;
  #handed = 0;
  #fault: DeviceError | null = null;

  constructor(
    instance: GPU,
    gpu: GPUDevice,
    info: GPUAdapterInfo,
    { memory = Infinity, profile = false, family, nap }: DeviceOptions & Pick<Device, "nap">,
  ) {
    Device.#instances.add(instance);
    this.gpu = gpu;
    this.name = nameOf(info);
    this.target = targetOf(info, gpu, family);
    this.timed = profile;
    this.nap = nap;
    this.#cap = memory;
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault(); // it is thrown, so it need not be printed
      this.#fault ??= new DeviceError(this.#withShaders(event.error.message));
    });
    void gpu.lost.then(({ reason, message }) => {
      this.#fault ??= new DeviceError(
        reason === "destroyed" ? "the device has been disposed of." : `the device was lost: ${message}`,
      );
    });
  }

  /** @throws {DeviceError} if the device is lost or anything failed on it since the start. */
  check(): void {
    if (this.#fault !== null) throw this.#fault;
  }

  /** Bytes allocated now, by kind; those on the host too. */
  allocated(): MemoryPlan {
    const bytes: Record<string, number> = {};
    for (const { kind, bytes: n } of this.#buffers.values()) bytes[kind] = (bytes[kind] ?? 0) + n;
    return bytes;
  }

  /** Bytes that may still be allocated. */
  get left(): number {
    return this.#cap - this.#bytes;
  }

  /**
   * Makes sure that `plan` more bytes may be allocated.
   * @throws {DeviceError} with the numbers by kind.
   */
  require(plan: MemoryPlan): void {
    const wanted = deviceBytes(plan);
    if (this.#bytes + wanted <= this.#cap) return;
    const kinds = Object.entries(plan)
      .filter(([kind, n]) => n > 0 && kind !== OFFLOADED)
      .map(([kind, n]) => `${kind} ${showBytes(n)}`);
    throw new DeviceError(
      `needs ${showBytes(wanted)} of device memory (${kinds.join(", ")}); ${showBytes(this.#bytes)} are allocated and ${showBytes(this.#cap)} allowed. ` +
        `${ADVICE} Or allow more.`,
    );
  }

  /**
   * Allocates a buffer and counts it.
   * @throws {DeviceError} if it is larger than a buffer may be or does not fit under the cap.
   */
  buffer(kind: string, label: string, bytes: number, flags: GPUBufferUsageFlags): GPUBuffer {
    const { maxBufferSize } = this.gpu.limits;
    if (bytes > maxBufferSize)
      throw new DeviceError(
        `${label} needs a buffer of ${showBytes(bytes)}; this adapter's largest has ${showBytes(maxBufferSize)}.`,
      );
    this.require({ [kind]: bytes });
    const buffer = this.gpu.createBuffer({ label, size: bytes, usage: flags });
    this.#buffers.set(buffer, { kind, bytes });
    this.#bytes += deviceBytes({ [kind]: bytes });
    return buffer;
  }

  /** Counts bytes handed to the queue, and waits for it now and then, so that what it copies them to stays small. */
  async handed(bytes: number): Promise<void> {
    this.#handed += bytes;
    if (this.#handed < IN_FLIGHT) return;
    this.#handed = 0;
    await this.gpu.queue.onSubmittedWorkDone();
  }

  /** Frees a buffer; work that was submitted with it still completes. */
  free(buffer: GPUBuffer): void {
    const { kind, bytes } = this.#buffers.get(buffer) ?? { kind: OFFLOADED, bytes: 0 };
    this.#bytes -= deviceBytes({ [kind]: bytes });
    this.#buffers.delete(buffer);
    buffer.destroy();
  }

  /**
   * Runs `make`, which allocates, and waits until the driver has granted it all; if it does not, `undo` gives back what
   * was made.
   * @throws {DeviceError} if the driver is out of memory or refuses what was asked, and whatever `make` throws.
   */
  async allocate<T>(make: () => T, undo: () => void = () => undefined): Promise<T> {
    const before = this.#bytes;
    this.gpu.pushErrorScope("validation");
    this.gpu.pushErrorScope("out-of-memory");
    const scopes = (): Promise<(GPUError | null)[]> =>
      Promise.all([this.gpu.popErrorScope(), this.gpu.popErrorScope()]);
    let made: T;
    try {
      made = make();
    } catch (error) {
      undo();
      await scopes();
      throw error;
    }
    const wanted = this.#bytes - before;
    const [memory, validation] = await scopes();
    if (!memory && !validation) return made;
    undo();
    throw new DeviceError(
      memory
        ? `the device is out of memory: ${showBytes(wanted)} were wanted while ${showBytes(before)} were allocated. ${ADVICE} (${memory.message})`
        : this.#withShaders(validation?.message ?? ""),
    );
  }

  /** Destroys the device and everything on it. */
  dispose(): void {
    this.#buffers.clear();
    this.#bytes = 0;
    this.gpu.destroy();
  }

  /** A message with the text of each shader that it names. */
  #withShaders(message: string): string {
    const named = [...this.shaders].filter(([, label]) => message.includes(`"${label}"`));
    return [message, ...named.map(([code, label]) => `// ${label}\n${code}`)].join("\n");
  }
}

/** "4.9 GB", "128 MiB" would be two notations: decimal units, as disks and CLIs count. */
export function showBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return power === 0 ? `${bytes} B` : `${(bytes / 1000 ** power).toPrecision(3)} ${units[power]}`;
}
