/** @file Prints by how many bytes the process grows over a thousand runs, after as many that fill every pool. */
import { deviceRuntime, requestDevice } from "../src/index.ts";
import { declareMlp, mlpBatch, mlpStep } from "./mlp.ts";

const runtime = deviceRuntime(await requestDevice());
const store = runtime.store();
declareMlp(store);
const program = await runtime.compile(store, mlpStep);
const batch = mlpBatch(0);
const size = async (): Promise<number> => {
  for (let i = 0; i < 1000; i++) await program.run(batch);
  globalThis.gc?.();
  return process.memoryUsage.rss();
};
const before = await size();
console.log((await size()) - before);
