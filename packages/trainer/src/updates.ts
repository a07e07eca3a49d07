/** @file The optimizer's updates as programs of their own, and how what they remember makes room for batches. */
import { DeviceError, type Outputs, type Program, type Runtime, type Trace } from "@graftml/tensor";
import type { Choices, Job } from "./run.ts";

/** One program of an update, and what of the optimizer's memory it alone reaches: parameters of the store. */
export interface Update {
  readonly build: (trace: Trace) => Outputs;
  readonly state: readonly string[];
}

/** The programs of an update, one after another. */
export interface Updates {
  /** Makes sure that each can be had. @throws {DeviceError} if memory does not suffice. */
  prepare(): Promise<void>;
  /** Submits an update after all runs submitted so far. Outputs are those of all its programs. */
  run(inputs: Parameters<Program["run"]>[0]): ReturnType<Program["run"]>;
  /** Resolves when the last update is in the device's queue: at once where its programs are there. */
  queued(): Promise<void>;
  /** Takes what the optimizer remembers to the host. */
  park(): Promise<void>;
  dispose(): void;
}

/**
 * Compiles each update when it is first run, and again after it was parked: with it, its state comes back.
 * @param yieldRoom frees what else can be made again. It is called where memory is short and paging allowed; if that does not do,
 *   the state of other updates is parked too.
 */
export function updatesOf(
  { runtime, store, pagedOptimizer }: Pick<Job, "runtime" | "store"> & Pick<Choices, "pagedOptimizer">,
  updates: readonly Update[],
  yieldRoom: () => Promise<void>,
): Updates {
  const programs = new Map<Update, Program>();
  const park = async (some: readonly Update[]): Promise<void> => {
    for (const update of some) {
      programs.get(update)?.dispose();
      programs.delete(update);
      await store.park(...update.state);
    }
  };
  const load = async (update: Update): Promise<Program> => {
    const others = updates.filter((other) => other !== update && other.state.length > 0);
    const program = await withRoom(
      () => runtime.compile(store, update.build),
      pagedOptimizer ? [yieldRoom, () => park(others)] : [],
    );
    programs.set(update, program);
    return program;
  };
  let queued = Promise.resolve();
  return {
    prepare: async () => {
      for (const update of updates) if (!programs.has(update)) await load(update);
    },
    run: async (inputs) => {
      const running: ReturnType<Program["run"]>[] = [];
      const submit = async (): Promise<void> => {
        for (const update of updates) {
          const outputs = (programs.get(update) ?? (await load(update))).run(inputs);
          outputs.catch(() => undefined); // thrown below, if all of them could be submitted
          running.push(outputs);
        }
      };
      await (queued = submit());
      return Object.assign({}, ...(await Promise.all(running))) as Awaited<(typeof running)[number]>; // a union of theirs
    },
    queued: () => queued,
    park: () => park(updates),
    dispose: () => {
      for (const program of programs.values()) program.dispose();
    },
  };
}

/**
 * Makes something that takes memory, giving up one thing after another until there is enough.
 * @throws {DeviceError} if there is none left to give up.
 */
async function withRoom<T>(make: () => Promise<T>, sacrifices: readonly (() => Promise<void>)[]): Promise<T> {
  for (const sacrifice of sacrifices)
    try {
      return await make();
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      await sacrifice();
    }
  return make();
}

/** A runtime that compiles after `sacrifice` what it has no memory for before. */
export const roomy = (runtime: Runtime, sacrifice: () => Promise<void>): Runtime => ({
  ...runtime,
  compile: (store, build) => withRoom(() => runtime.compile(store, build), [sacrifice]),
});
