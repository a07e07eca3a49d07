/** @file What an adapter costs the model that carries it, read off the model itself. */
import { type Node, sizeOf } from "@graftml/tensor";
import { type Adapter, walk } from "./adapt.ts";
import { NotMergeable } from "./errors.ts";
import { merge } from "./merge.ts";
import type { Base, Model } from "./model.ts";
import type { Layer } from "./scope.ts";

export interface Cost {
  /** Numbers that are trained. */
  readonly trained: number;
  /** Numbers that the base does not have: what is owned and no copy of a parameter. */
  readonly added: number;
  /** Why it cannot be folded into the base's weights; null if it can, and then costs nothing once it is. */
  readonly unmergeable: string | null;
  /** Products with weights that it adds to the longest way through a pass, attached. Merged, it adds none. */
  readonly depth: number;
  /** Places of the context that it takes: rows before the tokens, and keys before those of the tokens. */
  readonly context: number;
}

/** What an adapter costs. Nothing is computed: the model is traced once with it and once without. */
export function costOf<Batch>(adapter: Adapter, model: Model<Batch>, base: Base): Cost {
  const owned = adapter.owned.filter((o) => o.persist === true);
  const isCopy = ({ name, site }: (typeof owned)[number]): boolean => name === `${adapter.id}/${site.path}`;
  const count = (some: typeof owned): number => some.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return {
    trained: count(adapter.trainable ? owned.filter((o) => o.trainable) : []),
    added: count(owned.filter((o) => !isCopy(o))),
    unmergeable: unmergeable(adapter, model, base),
    depth: depthOf(model, adapter.layers) - depthOf(model, []),
    context: contextTaken(model, adapter.layers),
  };
}

function unmergeable<Batch>(adapter: Adapter, model: Model<Batch>, base: Base): string | null {
  try {
    merge(model, base, [{ adapter, state: new Map() }]);
    return null;
  } catch (error) {
    if (NotMergeable.is(error)) return error.message;
    throw error;
  }
}

/** Products with weights on the longest way through a pass: what cannot be done side by side. */
function depthOf<Batch>(model: Model<Batch>, layers: readonly Layer[]): number {
  const depth = new Map<Node, number>();
  let deepest = 0;
  for (const node of walk(model, layers, { train: false }).trace.nodes) {
    const before = Math.max(0, ...node.inputs.map((input) => depth.get(input.node) ?? 0));
    const here = before + (node.op.name === "matmul" ? 1 : 0);
    depth.set(node, here);
    deepest = Math.max(deepest, here);
  }
  return deepest;
}

/** Places of the context that layers take: keys that attention sees beyond one for each token. */
export function contextTaken<Batch>(model: Model<Batch>, layers: readonly Layer[]): number {
  const seen: number[] = [];
  const watch: Layer = {
    id: "",
    name: "measuring the context",
    adaptation: {
      attention: {
        at: "attn",
        wrap: (heads, next) => {
          seen.push(heads.k.shape[1] ?? 0);
          return next(heads);
        },
      },
    },
  };
  const most = (some: readonly Layer[]): number => {
    walk(model, [watch, ...some], { train: false });
    return Math.max(0, ...seen.splice(0));
  };
  return most(layers) - most([]);
}
