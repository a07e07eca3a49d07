/** @file Suite `dispatch`: what the host pays to replay a program of 1,000 small dispatches. */
import { add, deviceRuntime, fill, requestDevice, reshape, type Tensor, transpose } from "@graftml/tensor";
import { median } from "../measure.ts";
import type { Report } from "../report.ts";

const DISPATCHES = 1000;
const ROUNDS = 30;

/** A chain of transpositions: nothing fuses, so each is a dispatch. */
function chain(x: Tensor): Tensor {
  let y = x;
  for (let i = 0; i < DISPATCHES; i++) y = transpose(y, [1, 0]);
  return y;
}

/** Microseconds a dispatch, from the call of `run` to its return (encode and submit) and until the device is done. */
export async function dispatch(): Promise<Report> {
  const device = await requestDevice();
  const runtime = deviceRuntime(device);
  const store = runtime.store();
  const program = await runtime.compile(store, (trace) => {
    const y = chain(trace.input("x", [8, 4]));
    return { y: reshape(add(y, fill(trace, [], 1)), [32]) };
  });
  const x = new Float32Array(32);
  const host: number[] = [];
  const whole: number[] = [];
  for (let round = -3; round < ROUNDS; round++) {
    const from = performance.now();
    const done = program.run({ x });
    const submitted = performance.now();
    await done;
    if (round >= 0) {
      host.push(submitted - from);
      whole.push(performance.now() - from);
    }
  }
  runtime.dispose();
  const us = (ms: number): number => (ms * 1000) / DISPATCHES;
  return {
    suite: `dispatch (${DISPATCHES} a run)`,
    rows: [
      { name: "encode and submit", figures: { "µs each, median": us(median(host)), best: us(Math.min(...host)) } },
      { name: "until done", figures: { "µs each, median": us(median(whole)), best: us(Math.min(...whole)) } },
    ],
  };
}
