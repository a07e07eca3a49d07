/** @file What a run would need: on this machine, on another one, or with other settings. */
import { DeviceError, GraftError, type MemoryPlan, planningRuntime, type Runtime } from "@graftml/tensor";
import { planRun } from "@graftml/trainer";
import { openRuntime } from "./device.ts";
import { NoDevice } from "./errors.ts";
import { type Changes, changed } from "./fitting.ts";
import { type Data, trainerRun } from "./plan.ts";
import type { RunSource } from "./run-file.ts";
import { openSession, type Session } from "./session.ts";

/** Rows to plan for. */
export type PlannedRows = Pick<Data, "rows" | "heldOut">;

/** A row as long as the run lets it be, where a run has no data. */
export function longestRow({ run, loaded: { model } }: Session): PlannedRows {
  const ids = new Array<number>(Math.min(run.data.max_length, model.info.maxLength)).fill(0);
  return { rows: [{ ids, labels: ids }], heldOut: [] };
}

/**
 * Makes a function that plans the run with some settings changed, for a GPU that need not be there. It gives null where the
 * settings cannot stand together.
 */
export function plansOf(
  session: Session,
  source: RunSource,
  rowsOf: (session: Session) => PlannedRows,
): (changes: Changes) => Promise<MemoryPlan | null> {
  const opened = new Map<string, Promise<Session | undefined>>();
  /** The session with the base and the methods of the changed run. */
  const withStack = (changes: Changes): Promise<Session | undefined> => {
    const { weights, methods } = changes;
    if (weights === undefined && methods === undefined) return Promise.resolve(session);
    const key = JSON.stringify([weights, methods]);
    const known = opened.get(key);
    if (known !== undefined) return known;
    const fresh = openSession(changed(session.run, changes), source, { planned: true }).then((o) => o.session);
    opened.set(key, fresh);
    return fresh;
  };
  return async (changes) => {
    const asItIs = Object.keys(changes).length === 0;
    const found = await withStack(changes);
    if (found === undefined) return null;
    const own = { ...found, run: changed(session.run, changes) };
    try {
      return planRun(trainerRun(own, { runtime: planningRuntime(), cap: Infinity }, rowsOf(own)));
    } catch (error) {
      if (GraftError.is(error) && !asItIs) return null;
      throw error;
    }
  };
}

/** A plan, and where it holds. */
interface Planned {
  readonly bytes: MemoryPlan;
  /** What the plan is for, if not for this machine's device. */
  readonly elsewhere: string;
}

/** Bytes that training needs on the device, or on a GPU in general where there is none or the run is too large for it. */
export async function plannedMemory(
  session: Session,
  { rows, heldOut }: PlannedRows,
  device: "webgpu" | "host",
): Promise<Planned> {
  const planned = rows.length > 0 ? { rows, heldOut } : longestRow(session);
  const on = (runtime: Runtime): MemoryPlan => planRun(trainerRun(session, { runtime, cap: Infinity }, planned));
  try {
    const { runtime } = await openRuntime(device, session.run.train.device_memory);
    try {
      return { bytes: on(runtime), elsewhere: "" };
    } finally {
      runtime.dispose();
    }
  } catch (error) {
    if (NoDevice.is(error))
      return {
        bytes: on(planningRuntime()),
        elsewhere: "; on a GPU: there is no WebGPU adapter here, graft doctor says more",
      };
    if (DeviceError.is(error))
      return { bytes: on(planningRuntime()), elsewhere: `; on a larger GPU than this one: ${error.message}` };
    throw error;
  }
}
