/** @file What adapters cost, in words. */
import { type Adapter, type Cost, costOf, type Group, type Method } from "@graftml/peft";
import { thousands } from "./render.ts";
import type { Session } from "./session.ts";

/** The three ways to train few parameters, as surveys group them; and what trains none. */
export const groups: Readonly<Record<Group, string>> = {
  specification: "specification: train some of the parameters that are there",
  addition: "addition: train parameters that are added",
  reparameterization: "reparameterization: train a change of the weights in other terms",
  storage: "storage: train nothing, store the base in less",
};

/** What an adapter costs, with the groups of its methods. */
export interface AdapterCost extends Cost {
  readonly methods: readonly string[];
  readonly groups: readonly Group[];
  /** Positions that are left to tokens. */
  readonly positions_left: number;
}

/** Costs of every adapter of a session. */
export const costsOf = ({ loaded: { model, base }, stack }: Session): readonly AdapterCost[] =>
  stack.map(({ adapter }) => {
    const cost = costOf(adapter, model, base);
    return {
      methods: adapter.methods.map((m) => m.name),
      groups: groupsOf(adapter),
      ...cost,
      positions_left: model.info.maxLength - cost.context,
    };
  });

// A method has forgotten the type of its configuration; its group does not depend on it.
const groupsOf = ({ methods }: Adapter): readonly Group[] => [
  ...new Set(methods.map(({ method }) => (method as Pick<Method<unknown>, "group">).group)),
];

/** One adapter's costs as a line. */
export function costLine({ groups: kinds, added, unmergeable, depth, context, positions_left }: AdapterCost): string {
  return [
    kinds.join(" + "),
    added === 0 ? "no new parameters" : `${thousands(added)} new parameters`,
    unmergeable === null ? "can be merged" : "cannot be merged",
    ...(depth > 0 ? [`${depth} more products in a row${unmergeable === null ? " until it is" : ""}`] : []),
    ...(context > 0 ? [`takes ${context} positions, ${thousands(positions_left)} are left`] : []),
  ].join(" · ");
}
