/** @file TensorFlow.js's WebGPU backend, as a contender. */
import type { Contender } from "../measure.ts";
import { browserGlobals } from "./node-webgpu.ts";

/** `times` products of two random n×n matrices. */
export async function tfjsMatmul(n: number, times: number): Promise<Contender> {
  browserGlobals();
  const tf = await import("@tensorflow/tfjs-core");
  await import("@tensorflow/tfjs-backend-webgpu");
  await tf.setBackend("webgpu");
  await tf.ready();
  const [a, b] = [tf.randomUniform([n, n]), tf.randomUniform([n, n])];
  return {
    name: "tfjs WebGPU",
    run: async () => {
      const ys = Array.from({ length: times }, () => tf.matMul(a, b));
      const corner = tf.slice(ys.at(-1) as (typeof ys)[number], [0, 0], [1, 1]); // times ≥ 1
      await corner.data();
      tf.dispose([...ys, corner]);
    },
  };
}
