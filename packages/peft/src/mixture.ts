/** @file Mixed batches: every row goes through an adapter of its own, or through none. No method knows of it. */
import {
  abs,
  add,
  cast,
  concat,
  fill,
  less,
  maximum,
  mul,
  reshape,
  scale,
  shift,
  sub,
  type Tensor,
  where,
} from "@graftml/tensor";
import { AdaptError } from "./errors.ts";
import type { ModelInfo } from "./model.ts";
import type { Layer } from "./scope.ts";
import type { Heads, Kind, Kinds, Next, Site } from "./site.ts";

/** Adapters among which the rows of a batch choose. */
export interface Mixture {
  /** For every row the number of its stack, from 1 on; 0: none. i32 [B] */
  readonly index: Tensor;
  readonly stacks: readonly (readonly Layer[])[];
}

/**
 * A layer of the onion that sends every row through the stack it names: each gives what it would give alone. Stacks may be
 * of different methods, and put different numbers of rows before the tokens.
 *
 * @param index for every row the number of its stack, from 1 on; 0 is the model without any of them. i32 [B]
 * @throws {AdaptError} while tracing, for a stack that changes a parameter outside of linears (a norm's gain, a token table):
 *   rows of one batch share those.
 */
export const mixed = (index: Tensor, stacks: readonly (readonly Layer[])[]): Layer => ({
  id: "",
  name: "a mixed batch",
  adaptation: {},
  mixture: { index, stacks },
});

/** Rows that each stack puts before the tokens, by the part of the model ("encoder", "decoder") that they enter. */
export type Leads = Map<string, readonly number[]>;

/** A site of a mixed batch: its input, what follows, and the stacks that attach there (null: does not). */
export interface Crossing<K extends Kind> {
  readonly site: Site<K>;
  readonly model: ModelInfo;
  readonly input: Kinds[K]["input"];
  readonly next: Next<K>;
  readonly through: readonly (((next: Next<K>) => Next<K>) | null)[];
  /** Whether a stack changes the parameters that a linear uses. */
  readonly changes: (stack: number) => boolean;
  /** Runs with a stack's parameters in the place of the model's; −1: with the model's. */
  readonly within: <R>(stack: number, run: () => R) => R;
}

/** Output without any stack, then through each; what stacks have in common is traced once. */
function outputs<K extends Kind>(
  { next, through, changes, within }: Crossing<K>,
  input: Kinds[K]["input"],
): readonly Kinds[K]["output"][] {
  const known = new Map<Kinds[K]["input"], Kinds[K]["output"]>();
  const once: Next<K> = (x) => {
    const output = known.get(x) ?? next(x);
    known.set(x, output);
    return output;
  };
  const base = within(-1, () => once(input));
  const output = (wrap: (typeof through)[number], stack: number): Kinds[K]["output"] => {
    const inner = changes(stack) ? next : once;
    return wrap === null && inner === once ? base : within(stack, () => (wrap?.(inner) ?? inner)(input));
  };
  return [base, ...through.map(output)];
}

/** Row by row the output of the stack that it names: [B, …], all of one shape. */
function select(index: Tensor, candidates: readonly Tensor[]): Tensor {
  const [base, ...others] = candidates as readonly [Tensor, ...Tensor[]]; // the first is that without a stack
  const [B = 0] = index.shape;
  return others.reduce((chosen, candidate, i) => {
    if (candidate === base) return chosen;
    if (candidate.shape[0] !== B)
      throw new AdaptError(`a mixed batch has ${B} rows, but here its first axis is ${candidate.shape[0]}.`);
    const mine = reshape(isStack(index, i + 1), [B, ...candidate.shape.slice(1).map(() => 1)]);
    return where(mine, candidate, chosen);
  }, base);
}

/** 1 for the rows of a stack, else 0: [B]. */
function isStack(index: Tensor, stack: number): Tensor {
  const apart = abs(shift(cast(index, "f32"), -stack)); // [B]
  return less(apart, fill(index.node.trace, [], 0.5));
}

/** Where output and input have as many rows. */
const through = <K extends "linear" | "residual" | "layer">(crossing: Crossing<K>, index: Tensor): Tensor =>
  select(index, outputs(crossing, crossing.input));

function parameter({ site, next, through }: Crossing<"param">): Tensor {
  if (through.every((wrap) => wrap === null)) return next();
  throw new AdaptError(
    `a mixed batch cannot hold an adapter that changes ${site.path} itself: its rows share the parameters. Merge that adapter, or run its rows apart.`,
  );
}

const partOf = ({ path }: Site): string => path.split(".")[0] ?? "";

/** How many rows of each sequence are there only because another stack's is longer: [B, 1]. */
function padding(index: Tensor, leads: readonly number[]): Tensor {
  const longest = Math.max(...leads);
  const rows = leads.map((lead, stack) => scale(isStack(index, stack), longest - lead)); // all but one are 0
  return reshape(rows.reduce(add), [index.shape[0] ?? 0, 1]);
}

/** Prompts of different lengths stand at the right of the longest one's rows, next to the tokens. */
function embedded(crossing: Crossing<"embedding">, index: Tensor, leads: Leads): Tensor {
  const { site, model, input } = crossing;
  const all = outputs(crossing, input);
  const [, T = 0] = input.shape;
  const lead = all.map((y) => (y.shape[1] ?? T) - T);
  const longest = Math.max(...lead);
  if (model.labels > 0 && lead.some((rows) => rows !== longest))
    throw new AdaptError(
      `a mixed batch of this model cannot hold adapters that put different numbers of rows before the tokens (${lead.join(", ")}): its head reads the first row, which then is another one for each. Run them apart.`,
    );
  if (longest > 0) leads.set(partOf(site), lead);
  const even = all.map((y, i) => {
    const [B = 0, , D = 0] = y.shape;
    const missing = longest - (lead[i] ?? 0);
    return missing === 0 ? y : concat([fill(y.node.trace, [B, missing, D], 0), y], 1);
  });
  return select(index, even);
}

/** Positions count from each row's own first one. */
function placed(crossing: Crossing<"positions">, index: Tensor, leads: Leads): Tensor {
  const lead = leads.get(partOf(crossing.site));
  const { input } = crossing;
  const own = (): Tensor => maximum(sub(cast(input, "f32"), padding(index, lead ?? [])), fill(index.node.trace, [], 0));
  const all = outputs(crossing, lead === undefined ? input : cast(own(), "i32"));
  const each = all.map((p) => add(cast(p, "f32"), fill(p.node.trace, [index.shape[0] ?? 0, 1], 0))); // [B, T'] of [1, T']
  return all.every((p) => p === all[0]) ? (all[0] ?? input) : cast(select(index, each), "i32");
}

/** Keys of rows that are only there to be of one length are hidden. */
function attended(crossing: Crossing<"attention">, index: Tensor, leads: Leads): Tensor {
  const { site, input } = crossing;
  const lead = leads.get(site.roles.includes("cross") ? "encoder" : partOf(site));
  const heads: Heads = lead === undefined ? input : { ...input, mask: hiding(input, padding(index, lead)) };
  return select(index, outputs(crossing, heads));
}

/** The mask, with the first `padding` keys of each row hidden: [B, S]. */
function hiding({ mask, k }: Heads, pads: Tensor): Tensor {
  const [, S = 0] = k.shape;
  const { trace } = k.node;
  const number = trace.constant(`0 … ${S - 1}`, [S], () => Float32Array.from({ length: S }, (_, i) => i));
  const seen = less(sub(pads, fill(trace, [], 0.5)), number); // [B, S]
  return mask === null ? seen : mul(mask, seen);
}

/** What a site of each kind gives for a mixed batch. */
export const crossings: {
  readonly [K in Kind]: (crossing: Crossing<K>, index: Tensor, leads: Leads) => Kinds[K]["output"];
} = {
  param: parameter,
  linear: through,
  embedding: embedded,
  positions: placed,
  attention: attended,
  residual: through,
  layer: through,
};
