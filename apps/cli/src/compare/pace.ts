/** @file How long a comparison will take, from the first steps of everything in it. */
import { train } from "@graftml/trainer";
import { examplesOf, trainerRun } from "../plan.ts";
import { type Bench, withCell } from "./cell.ts";
import type { Cell } from "./cells.ts";

/** Steps that are taken to see how long one takes; the last of them counts. */
const STEPS = 3;

/** A pass over held-out rows as a share of a step over as many rows: the forward pass alone. */
const FORWARD = 1 / 3;

/** Milliseconds that a cell will take, evaluation included: a few of its steps are taken and forgotten. */
export const paceOf = (bench: Bench, cell: Cell): Promise<number> =>
  withCell(bench, cell, async (session, opened) => {
    const { rows, heldOut } = examplesOf(session, bench.records);
    const run = trainerRun(session, opened, { rows, heldOut: [] });
    let ms = 0;
    for await (const event of train(run)) {
      if (event.type === "step") ms = event.ms;
      if (event.step >= Math.min(STEPS, run.steps)) break;
    }
    const perRow = ms / (run.batchSize * (run.accumulate ?? 1));
    return ms * run.steps + heldOut.length * perRow * FORWARD;
  });
