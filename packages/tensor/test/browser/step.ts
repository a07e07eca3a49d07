/** @file Training steps of a small language model in a browser, beside the f64 interpreter on the same page. */
import { deviceRuntime, hostRuntime, requestDevice } from "../../src/index.ts";
import { trainBlock } from "../block.ts";

/** What the page reports. */
export interface Report {
  readonly adapter: string;
  /** Losses before each step. */
  readonly device: readonly number[];
  readonly interpreter: readonly number[];
  /** Largest difference of the losses, relative to the interpreter's. */
  readonly error: number;
}

/** Trains on `navigator.gpu` and on the interpreter, from the same weights on the same batches. */
export async function step(steps = 2): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const [device, interpreter] = [await trainBlock(runtime, steps), await trainBlock(hostRuntime(), steps)];
  const error = Math.max(...device.map((loss, i) => Math.abs(loss / (interpreter[i] ?? NaN) - 1)));
  runtime.dispose();
  return { adapter: runtime.name, device, interpreter, error };
}
