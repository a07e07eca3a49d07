/** @file Programs and stores on a GPU. */
import { DeviceError } from "../errors.ts";
import type { Trace } from "../tensor.ts";
import { type Blueprint, type Constant, draft } from "./blueprint.ts";
import { type Device, usage } from "./device.ts";
import { Pipelines } from "./pipelines.ts";
import { DeviceProgram, type Workspaces } from "./program.ts";
import { type MemoryPlan, OFFLOADED, type Outputs, type Runtime, type Store } from "./runtime.ts";
import { DeviceStore } from "./store.ts";
import { Workspace } from "./workspace.ts";

/** A runtime whose programs can be profiled. */
export interface DeviceRuntime extends Runtime {
  compile(store: Store, build: (trace: Trace) => Outputs): Promise<DeviceProgram>;
}

/** The runtime of a device. Stores, pipelines, constants and the workspace of activations are its own. */
export function deviceRuntime(device: Device): DeviceRuntime {
  const pipelines = new Pipelines(device);
  const workspaces: Workspaces = {
    activations: new Workspace(device, "activations", usage.storage),
    host: new Workspace(device, OFFLOADED, usage.staging),
  };
  const constants = new Map<string, GPUBuffer>();

  const own = (store: Store): DeviceStore => {
    if (store instanceof DeviceStore && store.device === device) return store;
    throw new DeviceError("the store belongs to another runtime.");
  };
  const constant = ({ key, bytes, values }: Constant): GPUBuffer => {
    let buffer = constants.get(key);
    if (buffer === undefined) {
      buffer = device.buffer("transfer", key, bytes, usage.storage);
      device.gpu.queue.writeBuffer(buffer, 0, values());
      constants.set(key, buffer);
    }
    return buffer;
  };
  /** Bytes of a blueprint that are not allocated yet. */
  const missing = (store: DeviceStore, blueprint: Blueprint): MemoryPlan => {
    const bytes: Record<string, number> = {
      ...blueprint.memory,
      activations: workspaces.activations.growth(blueprint.schedule.slots),
      [OFFLOADED]: workspaces.host.growth(blueprint.schedule.held),
    };
    const have = (kind: string, n: number): number => (bytes[kind] = (bytes[kind] ?? 0) - n);
    for (const buffer of blueprint.parameters) {
      const { kind, bytes: n } = store.block(buffer);
      if (store.isAllocated(buffer)) have(kind, n);
    }
    for (const { key, bytes: n } of blueprint.constants) if (constants.has(key)) have("transfer", n);
    return bytes;
  };

  return {
    name: device.name,
    maxBinding: device.target.maxBinding,
    store: () => new DeviceStore(device),
    plan: (store, build) => draft(own(store), build, device.target).memory,
    compile: async (given, build) => {
      device.check();
      const store = own(given);
      const blueprint = draft(store, build, device.target);
      const program = new DeviceProgram(device, workspaces, blueprint);
      let allocated: Promise<void> | undefined;
      // Memory that programs share is made anew between runs, not in the middle of one.
      await device.turns.take(() => {
        device.require(missing(store, blueprint));
        const fresh = blueprint.parameters.filter((buffer) => !store.isAllocated(buffer));
        allocated = device.allocate(
          () => {
            const shared = new Map<string, GPUBuffer>();
            for (const buffer of blueprint.parameters) shared.set(buffer, store.allocate(buffer));
            for (const table of blueprint.constants) shared.set(table.key, constant(table));
            program.allocate(shared);
          },
          () => {
            program.dispose();
            store.release(fresh);
          },
        );
        return undefined;
      });
      await allocated;
      try {
        for (const buffer of blueprint.parameters) await store.fill(buffer);
        await program.prepare(pipelines);
      } catch (error) {
        program.dispose();
        throw error;
      }
      return program;
    },
    allocated: () => device.allocated(),
    dispose: () => device.dispose(),
  };
}
