/** @file Collects garbage between runs on a device, in a process of its own: where the instance dies, this crashes. */
import { deviceRuntime, requestDevice, square } from "../src/index.ts";

const runtime = deviceRuntime(await requestDevice());
const program = await runtime.compile(runtime.store(), (t) => ({ y: square(t.input("x", [1])) }));
let last = 0;
for (let i = 0; i < 40; i++) {
  void new Float32Array(2 ** 20).fill(i);
  globalThis.gc?.();
  last = (await program.run({ x: [2] }))["y"]?.[0] ?? 0;
}
console.log(last);
