/** @file Leaves of a trace: inputs of a run, parameters of the store, constants. */
import { TraceError } from "../errors.ts";
import type { Aval } from "../shape.ts";
import type { Op } from "./op.ts";

/** Where a leaf's values come from. */
export type LeafAttrs =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "param"; readonly name: string }
  | { readonly kind: "constant"; readonly name: string; readonly values: () => Float32Array<ArrayBuffer> };

/** A value that no op makes. Runtimes supply it by its kind and name. */
export const leaf: Op<LeafAttrs & { readonly aval: Aval }> = {
  name: "leaf",
  infer: (_, { aval }) => [aval],
  reference: (_, { attrs }) => {
    throw new TraceError(`${attrs.kind} ${attrs.name} has no value: the runtime must supply it.`);
  },
  kernel: () => ({ dispatches: [] }),
};
