/**
 * @file Prints by how many bytes the process grows over 500 runs: the least of four times 500. What leaks grows every time;
 * what the allocators of V8 and the driver do once in a while does not.
 */
import { deviceRuntime, requestDevice } from "../src/index.ts";
import { declareMlp, mlpBatch, mlpStep } from "./mlp.ts";

const runtime = deviceRuntime(await requestDevice());
const store = runtime.store();
declareMlp(store);
const program = await runtime.compile(store, mlpStep);
const batch = mlpBatch(0);
const sizes: number[] = [];
for (let part = 0; part < 5; part++) {
  for (let i = 0; i < 500; i++) await program.run(batch);
  globalThis.gc?.();
  sizes.push(process.memoryUsage.rss());
}
console.log(Math.min(...sizes.slice(1).map((size, i) => size - (sizes[i] ?? 0))));
