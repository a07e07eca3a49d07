/** @file How long runs of a comparison will take, from the first steps of one like them. */
import { train } from "@graftml/trainer";
import { examplesOf, trainerRun } from "../plan.ts";
import { type Bench, withCell } from "./cell.ts";
import type { Cell } from "./cells.ts";

/** Steps that are taken to see how long one takes; the last of them counts. */
const STEPS = 2;

/** A pass over held-out rows as a share of a step over as many rows: the forward pass alone. */
const FORWARD = 1 / 3;

/** Milliseconds of a step: some are taken and forgotten. */
export const stepTime = (bench: Bench, cell: Cell): Promise<number> =>
  withCell(bench, cell, async (session, opened) => {
    const { rows } = examplesOf(session, bench.records);
    let ms = 0;
    for await (const event of train(trainerRun(session, opened, { rows, heldOut: [] }))) {
      if (event.type === "step") ms = event.ms;
      if (event.step >= STEPS) break;
    }
    return ms;
  });

/** Steps that a cell takes as long as, with its evaluation. */
export function lengthOf({ records }: Bench, { run }: Cell): number {
  const { steps = 0, batch_size: batch, accumulate } = run.train;
  return steps + (records.eval.length * FORWARD) / (batch * accumulate);
}
