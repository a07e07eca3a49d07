// Prints the WebGPU adapter that Node can have on this machine, or exits with status 1 when there is none.
// It runs in a process of its own, because Vulkan's loader reads the list of drivers once per process.

const { create } = await import("webgpu");
const gpu = create([]); // kept in scope: Dawn's instance must outlive its adapters
const adapter = await gpu.requestAdapter();
if (adapter === null) process.exit(1);
console.log(adapter.info.description || adapter.info.device || adapter.info.vendor || "an unnamed adapter");
process.exit(0);
