/** @file Mixed batches: every row goes through an adapter of its own, or through none. No method knows of it. */
import {
  add,
  cast,
  concat,
  fill,
  gather,
  less,
  maximum,
  mul,
  reshape,
  scale,
  ShapeError,
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

/** Several stacks that would do the same with parameters of their own. */
export interface Joint<K extends Kind> {
  readonly stacks: readonly number[];
  readonly around: (pick: Pick) => (next: Next<K>) => Next<K>;
}

/** A site of a mixed batch: its input, what follows, and the stacks that attach there (null: does not). */
export interface Crossing<K extends Kind> {
  readonly site: Site<K>;
  readonly model: ModelInfo;
  readonly input: Kinds[K]["input"];
  readonly next: Next<K>;
  readonly through: readonly (((next: Next<K>) => Next<K>) | null)[];
  /** Stacks of one configuration, to be tried at once: each row then picks its own parameters. */
  readonly joint: readonly Joint<K>[];
  /** Whether a stack changes the parameters that a linear uses. */
  readonly changes: (stack: number) => boolean;
  /** Runs with a stack's parameters in the place of the model's; −1: with the model's. */
  readonly within: <R>(stack: number, run: () => R) => R;
}

/** What some stacks make of a site. */
interface Alternative {
  readonly stacks: readonly number[];
  readonly output: Tensor;
}

/** The same for the same input, traced once. */
function once<K extends Kind>(next: Next<K>): Next<K> {
  const known = new Map<Kinds[K]["input"], Kinds[K]["output"]>();
  return (x) => {
    const output = known.get(x) ?? next(x);
    known.set(x, output);
    return output;
  };
}

/** Output without any stack, then through each but those that are done; what stacks have in common is traced once. */
function outputs<K extends Kind>(
  { next, through, changes, within }: Crossing<K>,
  input: Kinds[K]["input"],
  shared: Next<K> = once(next),
  done: ReadonlySet<number> = new Set(),
): readonly Kinds[K]["output"][] {
  const base = within(-1, () => shared(input));
  const output = (wrap: (typeof through)[number], stack: number): Kinds[K]["output"] => {
    const inner = changes(stack) ? next : shared;
    if (done.has(stack) || (wrap === null && inner === shared)) return base;
    return within(stack, () => (wrap?.(inner) ?? inner)(input));
  };
  return [base, ...through.map(output)];
}

/** Row by row the output of the stack that it names: [B, …], all of one shape. */
function select(index: Tensor, base: Tensor, alternatives: readonly Alternative[]): Tensor {
  const [B = 0] = index.shape;
  return alternatives.reduce((chosen, { stacks, output }) => {
    if (output === base) return chosen;
    if (output.shape[0] !== B)
      throw new AdaptError(`a mixed batch has ${B} rows, but here its first axis is ${output.shape[0]}.`);
    const mine = reshape(isAmong(index, stacks), [B, ...output.shape.slice(1).map(() => 1)]);
    return where(mine, output, chosen);
  }, base);
}

/** The outputs of single stacks, the first without any. */
function selectOne(index: Tensor, all: readonly Tensor[]): Tensor {
  const [base, ...others] = all as readonly [Tensor, ...Tensor[]]; // as `outputs` makes them
  return select(
    index,
    base,
    others.map((output, stack) => ({ stacks: [stack], output })),
  );
}

/** 1 for the rows of these stacks, else 0: [B]. */
const isAmong = (index: Tensor, stacks: readonly number[]): Tensor =>
  less(fill(index.node.trace, [], -0.5), cast(placeAmong(index, stacks), "f32"));

/** For every row the place of its stack among these, −1 where it is none of them: i32 [B]. */
function placeAmong(index: Tensor, stacks: readonly number[]): Tensor {
  const { trace } = index.node;
  const size = Math.max(...stacks) + 2; // index 0 is no stack; what is beyond the last gives 0 − 1
  const places = trace.constant(`places of ${stacks.join()}`, [size, 1], () =>
    Float32Array.from({ length: size }, (_, i) => stacks.indexOf(i - 1) + 1),
  );
  return shift(cast(reshape(gather(places, index), [index.shape[0] ?? 0]), "i32"), -1);
}

/** Where output and input have as many rows. */
const through = <K extends "residual" | "layer">(crossing: Crossing<K>, index: Tensor): Tensor =>
  selectOne(index, outputs(crossing, crossing.input));

/** Stacks of one configuration are one product, in which every row has its own factors. */
function multiplied(crossing: Crossing<"linear">, index: Tensor): Tensor {
  const { input, joint, within } = crossing;
  const next = once(crossing.next);
  const together = joint.flatMap(({ stacks, around }): Alternative[] => {
    const output = within(-1, () => sideBySide(index, input, stacks, (pick) => around(pick)(next)(input)));
    return output === null ? [] : [{ stacks, output }];
  });
  const done = new Set(together.flatMap(({ stacks }) => stacks));
  const [base, ...others] = outputs(crossing, input, next, done) as readonly [Tensor, ...Tensor[]]; // as `outputs` makes them
  return select(index, base, [...others.map((output, stack) => ({ stacks: [stack], output })), ...together]);
}

/** Of one parameter of several stacks, each row's: of [n] it is [B, 1, n], of [m, n] [B, m, n]. */
export type Pick = (parameters: readonly Tensor[]) => Tensor;

/**
 * What several stacks of one configuration make of a site at once, every row with its own parameters; null if they use them
 * for more than products and what is done with every row alike, where that would not be the same.
 */
function sideBySide(
  index: Tensor,
  tokens: Tensor,
  stacks: readonly number[],
  run: (pick: Pick) => Tensor,
): Tensor | null {
  const { trace } = index.node;
  const [B = 0] = index.shape;
  if (tokens.shape.length !== 3) return null; // vectors of rows would meet all rows, not the tokens of one
  const picked = new Set<Tensor["node"]>();
  const pick: Pick = (parameters) => {
    const { shape = [] } = parameters[0] ?? {};
    const table = concat(
      parameters.map((p) => reshape(p, [1, ...shape])),
      0,
    );
    const rows = gather(table, placeAmong(index, stacks)); // [B, …]
    const mine = shape.length === 1 ? reshape(rows, [B, 1, ...shape]) : rows;
    picked.add(mine.node);
    return mine;
  };
  const before = trace.nodes.length;
  try {
    const output = run(pick);
    const sound = trace.nodes.slice(before).every(({ op, inputs, outputs: [y] }) =>
      inputs.every(({ node, shape }, i) => {
        if (!picked.has(node)) return true;
        if (op.name === "matmul") return i === 1 && inputs[0]?.shape.length === 3 && inputs[0].shape[0] === B;
        return shape[1] === 1 && y?.shape.length === 3 && y.shape[0] === B; // a vector for each row, at every token
      }),
    );
    return sound ? output : null;
  } catch (error) {
    if (ShapeError.is(error)) return null;
    throw error;
  }
}

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
  const rows = leads.map((lead, stack) => scale(isAmong(index, [stack - 1]), longest - lead)); // all but one are 0
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
  return selectOne(index, even);
}

/** Positions count from each row's own first one. */
function placed(crossing: Crossing<"positions">, index: Tensor, leads: Leads): Tensor {
  const lead = leads.get(partOf(crossing.site));
  const { input } = crossing;
  const own = (): Tensor => maximum(sub(cast(input, "f32"), padding(index, lead ?? [])), fill(index.node.trace, [], 0));
  const all = outputs(crossing, lead === undefined ? input : cast(own(), "i32"));
  const each = all.map((p) => add(cast(p, "f32"), fill(p.node.trace, [index.shape[0] ?? 0, 1], 0))); // [B, T'] of [1, T']
  return all.every((p) => p === all[0]) ? (all[0] ?? input) : cast(selectOne(index, each), "i32");
}

/** Keys of rows that are only there to be of one length are hidden. */
function attended(crossing: Crossing<"attention">, index: Tensor, leads: Leads): Tensor {
  const { site, input } = crossing;
  const lead = leads.get(site.roles.includes("cross") ? "encoder" : partOf(site));
  const heads: Heads = lead === undefined ? input : { ...input, mask: hiding(input, padding(index, lead)) };
  return selectOne(index, outputs(crossing, heads));
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
  linear: multiplied,
  embedding: embedded,
  positions: placed,
  attention: attended,
  residual: through,
  layer: through,
};
