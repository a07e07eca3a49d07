/** @file What a run was made with. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** What a package.json always has. */
interface Manifest {
  readonly version: string;
}

/** Graft's own version. */
export const { version } = require("../package.json") as Manifest;

/** Version of the WebGPU implementation, if it is installed. */
export function webgpuVersion(): string | undefined {
  try {
    return (require("webgpu/package.json") as Manifest).version;
  } catch {
    return undefined;
  }
}

/** How a user calls this command line: by the launcher of a clone, or as an installed command. */
export const called = import.meta.filename.endsWith(".ts") ? "./graft" : "graft";

/** Versions and the device, for run.yaml. */
export const madeWith = (device: string): Readonly<Record<string, string>> => {
  const webgpu = webgpuVersion();
  return { graft: version, node: process.version.slice(1), ...(webgpu !== undefined && { webgpu }), device };
};
