/** @file The globals of a browser that the peers look for, over Node's `webgpu`. */
import { create, globals } from "webgpu";

let instance: GPU | undefined;

/** Puts `navigator.gpu`, WebGPU's constants and `window` in place, once. The instance must outlive every device. */
export function browserGlobals(): void {
  if (instance !== undefined) return;
  instance = create([]);
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", {
    value: { gpu: instance, userAgent: "node" },
    configurable: true,
    writable: true,
  });
  Object.assign(globalThis, { window: globalThis });
}
