/** @file Tracing, compiling and running a function once, for tests and scripts. */

import type { DType } from "./dtype.ts";
import { hostRuntime } from "./runtime/host.ts";
import type { Outputs, Runtime, Source, Values } from "./runtime/runtime.ts";
import type { Shape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Values with the shape and type they are traced with; f32 unless said otherwise. */
export interface Literal {
  readonly shape: Shape;
  readonly values: Source;
  readonly dtype?: DType;
}

/**
 * Runs `f` once on the given values and returns what it returns, by name. On the f64 interpreter unless told otherwise.
 *
 * @example
 * const { y } = await run(({ x }) => ({ y: square(x) }), { x: { shape: [2], values: [1, 2] } }); // y = [1, 4]
 */
export async function run<I extends Readonly<Record<string, Literal>>>(
  f: (inputs: { readonly [K in keyof I]: Tensor }) => Outputs,
  inputs: I,
  runtime: Runtime = hostRuntime(),
): Promise<Readonly<Record<string, Values>>> {
  const store = runtime.store();
  const program = await runtime.compile(store, (trace) => {
    const tensors = Object.entries(inputs).map(([name, { shape, dtype }]) => [name, trace.input(name, shape, dtype)]);
    return f(Object.fromEntries(tensors) as { readonly [K in keyof I]: Tensor }); // same keys as inputs
  });
  const outputs = await program.run(
    Object.fromEntries(Object.entries(inputs).map(([name, { values }]) => [name, values])),
  );
  program.dispose();
  return outputs;
}
