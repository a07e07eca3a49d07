/** @file What a run was made with. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const versionIn = (manifest: string): string => (require(manifest) as { readonly version: string }).version; // every package has one

/** Graft's own version. */
export const version = versionIn("../package.json");

/** Version of the WebGPU implementation, if it is installed. */
export function webgpuVersion(): string | undefined {
  try {
    return versionIn("webgpu/package.json");
  } catch {
    return undefined;
  }
}

/** Versions and the device, for run.yaml. */
export const madeWith = (device: string): Readonly<Record<string, string>> => {
  const webgpu = webgpuVersion();
  return { graft: version, node: process.version.slice(1), ...(webgpu !== undefined && { webgpu }), device };
};
