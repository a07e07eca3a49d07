/** @file Choosing what a command runs on, and how much memory it may take there. */
import {
  type Device,
  DeviceError,
  type DeviceOptions,
  deviceRuntime,
  hostRuntime,
  requestDevice,
  type Runtime,
} from "@graftml/tensor";
import { NoDevice, UsageError } from "./errors.ts";
import type { Run } from "./schema.ts";

/** A runtime, and what may be allocated on it. */
export interface Opened {
  readonly runtime: Runtime;
  /** Bytes; Infinity where nobody knows. */
  readonly cap: number;
}

/** What `--device` may say: the WebGPU adapter, or the f64 interpreter, which is slow and exact. */
export const deviceNames = ["webgpu", "host"] as const;

/** Share of free memory that a software adapter may take: it is the machine's own. */
const SHARE = 0.8;

/**
 * Opens a runtime.
 * @throws {NoDevice} if there is no adapter.
 */
export async function openRuntime(
  name: (typeof deviceNames)[number],
  deviceMemory: Run["train"]["device_memory"],
): Promise<Opened> {
  if (name === "host") return { runtime: hostRuntime(), cap: Infinity };
  const device = await request(deviceMemory === "auto" ? {} : { memory: bytesOf(deviceMemory) });
  if (deviceMemory !== "auto") return { runtime: deviceRuntime(device), cap: bytesOf(deviceMemory) };
  if (!device.gpu.adapterInfo.isFallbackAdapter) return { runtime: deviceRuntime(device), cap: Infinity };
  device.dispose();
  const cap = Math.floor(process.availableMemory() * SHARE);
  return { runtime: deviceRuntime(await request({ memory: cap })), cap };
}

/** A device. @throws {NoDevice} with what to do, if there is none. */
export async function request(options: DeviceOptions = {}): Promise<Device> {
  try {
    return await requestDevice(options);
  } catch (cause) {
    if (!DeviceError.is(cause)) throw cause;
    throw new NoDevice(
      `${cause.message} \`graft doctor\` says more; --device host runs small models without a GPU, slowly.`,
      { cause },
    );
  }
}

const units: Readonly<Record<string, number>> = {
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A size such as "2GB" or "1.5GiB". */
const SIZE = /^(\d+(?:\.\d+)?)\s*([kMGT]?i?)B$/;
export const isSize = (text: string): boolean => SIZE.test(text);

/** Bytes of a number, or of a size. */
export function bytesOf(size: string | number): number {
  if (typeof size === "number") return size;
  const [, value = "", unit = ""] = SIZE.exec(size) ?? [];
  return Math.floor(Number(value) * (units[unit] ?? 1));
}

/** The device that a command was told to use. @throws {UsageError} for any other name. */
export function deviceOf({ device }: { readonly [key: string]: unknown }): (typeof deviceNames)[number] {
  const found = deviceNames.find((name) => name === device);
  if (found === undefined)
    throw new UsageError(`--device: wants ${deviceNames.join(" or ")}; got ${JSON.stringify(device)}.`);
  return found;
}
