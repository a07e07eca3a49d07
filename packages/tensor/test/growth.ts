/**
 * @file Prints by how many bytes the process grows over 300 runs of a language model's training step: its whole size, the
 * buffers of JavaScript, and what is allocated on the device. Of each the least of four times 300: what leaks grows every
 * time; what the allocators of V8 and the driver do once in a while does not.
 */
import { deviceRuntime, requestDevice } from "../src/index.ts";
import { blockBatch, blockStep, declareBlock } from "./block.ts";

const runtime = deviceRuntime(await requestDevice());
const store = runtime.store();
declareBlock(store);
const program = await runtime.compile(store, blockStep);
const batch = blockBatch(0);
const sizes: (readonly [number, number, number])[] = [];
for (let part = 0; part < 5; part++) {
  for (let i = 0; i < 300; i++) await program.run(batch);
  globalThis.gc?.();
  const { rss, arrayBuffers } = process.memoryUsage();
  const allocated = Object.values(runtime.allocated()).reduce((a, b) => a + b, 0);
  sizes.push([rss, arrayBuffers, allocated]);
}
const least = (kind: 0 | 1 | 2): number =>
  Math.min(...sizes.slice(1).map((size, i) => size[kind] - (sizes[i]?.[kind] ?? 0)));
console.log(JSON.stringify({ rss: least(0), arrayBuffers: least(1), allocated: least(2) }));
