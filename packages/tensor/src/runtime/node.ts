/** @file WebGPU for Node, from the npm package `webgpu` (Dawn). The only file that knows it; browsers never load it. */
import { DeviceError } from "../errors.ts";

/** What this file needs of the package, said here so that the types of the package need not be installed. */
interface Package {
  create(options: readonly string[]): GPU;
}

/**
 * Dawn's instance. It is made once and never let go: a device does not keep its instance alive, and when V8 collects the
 * instance the process crashes at the next event.
 */
const instances: GPU[] = [];

/** What Node needs beside what a browser gives. */
export interface NodeGpu {
  readonly gpu: GPU;
  /**
   * Blocks the thread for so many ms, then lets events happen. While a promise of Dawn's is pending, its binding asks for it
   * on every turn of the event loop, which takes a core from a software adapter; naps make the turns few.
   */
  readonly nap: (ms: number) => Promise<void>;
}

/** Node's, said here so that its types need not be installed. */
declare function setImmediate(turn: () => void): unknown;

const never = new Int32Array(new SharedArrayBuffer(4));

function nap(ms: number): Promise<void> {
  Atomics.wait(never, 0, 0, ms);
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * The WebGPU of this Node process.
 * @throws {DeviceError} if the package is absent or does not load here.
 */
export async function nodeGpu(): Promise<NodeGpu> {
  let [gpu] = instances;
  if (gpu === undefined) {
    // The name is not a literal, so that bundlers for browsers leave this import alone.
    const name = ["web", "gpu"].join("");
    let dawn: Package;
    try {
      dawn = (await import(name)) as Package; // the package's own interface
    } catch (cause) {
      throw new DeviceError("Node has no WebGPU of its own: install the npm package webgpu, version 0.6.2 or newer.", {
        cause,
      });
    }
    // Timestamps in steps of 100 µs would say nothing about a kernel.
    gpu = dawn.create(["disable-dawn-features=timestamp_quantization"]);
    instances.push(gpu);
  }
  return { gpu, nap };
}
