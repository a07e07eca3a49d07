/** @file A runtime that plans and does nothing else: what programs would need on a device that is not there. */
import { DeviceError } from "../errors.ts";
import type { Target } from "../kernels/target.ts";
import { draft } from "./blueprint.ts";
import { StoreLayout } from "./layout.ts";
import type { Runtime, Store, Values } from "./runtime.ts";

/** A GPU that binds whatever it holds. */
const GPU: Target = { family: "tiles", subgroup: 0, maxBinding: 2 ** 50, maxWorkgroups: 65_535 };

const refuse = (what: string): never => {
  throw new DeviceError(`nothing can be ${what} here: this runtime plans only. Use one of a device.`);
};

/** Parameters without memory. */
class PlannedStore extends StoreLayout implements Store {
  async read(name: string): Promise<Values> {
    return refuse(`read of ${name}`);
  }

  async write(name: string): Promise<void> {
    refuse(`written to ${name}`);
  }

  async park(...names: readonly string[]): Promise<void> {
    refuse(`parked of ${names.join(", ")}`);
  }
}

/**
 * A runtime without a device, whose `plan` says what programs would need on one.
 * @param target the device; by default a GPU whose bindings may have any size.
 */
export function planningRuntime(target: Target = GPU): Runtime {
  return {
    name: "a plan",
    maxBinding: target.maxBinding,
    store: () => new PlannedStore(target.maxBinding),
    plan: (store, build) =>
      store instanceof PlannedStore
        ? draft(store, build, target).memory
        : refuse("planned for a store of another runtime"),
    compile: async () => refuse("compiled"),
    allocated: () => ({}),
    dispose: () => undefined,
  };
}
