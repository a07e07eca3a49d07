/** @file Ops that do the work of several nodes in one loop. Only `fuse` makes them. */
import { input, output } from "../kernels/kernel.ts";
import { type Access, type Body, type Loop, lowerLoop } from "../kernels/map.ts";
import { lowerSum } from "../kernels/reduce.ts";
import type { Target } from "../kernels/target.ts";
import { broadcast, flat } from "../kernels/walk.ts";
import { type Aval, sizeOf } from "../shape.ts";
import type { InlineContext, Op, Spec, Value } from "./op.ts";
import { type SumAttrs, sumOp } from "./reduce.ts";

/** What an elementwise call reads: an input of the fused op, or the result of an earlier call, in the shape it expects. */
export interface Argument {
  readonly from: "input" | "call";
  readonly index: number;
  readonly aval: Aval;
}

/** An elementwise op applied inside of a loop. Its result has the size of the loop, or one element. */
export interface Call {
  readonly op: Op;
  readonly attrs: unknown;
  readonly args: readonly Argument[];
  readonly result: Aval;
}

/** Calls in an order in which each finds its arguments; the last one makes the value. */
export interface FusedAttrs {
  readonly calls: readonly Call[];
}

/** `mul·add`: the ops of a chain in one word. */
const nameOf = ({ calls }: FusedAttrs): string => calls.map((c) => c.op.name).join("·");

const valueOf = ({ calls }: FusedAttrs): Aval => (calls.at(-1) as Call).result; // a fused op has at least one call

function evaluate(inputs: readonly Value[], { calls }: FusedAttrs): Value {
  const results: Value[] = [];
  for (const { op, attrs, args, result } of calls) {
    const values = args.map(({ from, index }) => (from === "input" ? inputs : results)[index]!);
    results.push(op.reference(values, { inputs: args.map((a) => a.aval), outputs: [result], attrs })[0]!);
  }
  return results.at(-1)!;
}

/** The calls as what a loop over `size` indices reads and does. `inPlace` inputs are read where output 0 is written. */
function loopOf(attrs: FusedAttrs, size: number, inPlace: boolean): Pick<Loop, "label" | "reads" | "body"> {
  const reads: Access[] = [];
  const places = new Map<string, number>();
  const calls = attrs.calls.map(({ op, attrs: own, args, result }) => {
    const sources = args.map(({ from, index, aval }) => {
      if (from === "call") return { from, index };
      // A call of one element reads single elements, however many indices the loop has.
      const walk = broadcast(aval.shape, result.shape);
      const key = `${index} ${JSON.stringify(walk)}`;
      const known = places.get(key);
      if (known !== undefined) return { from, index: known };
      places.set(key, reads.length);
      reads.push({ operand: inPlace && index === 0 ? output(0) : input(index), aval, walk });
      return { from, index: reads.length - 1 };
    });
    return { op, own, sources, once: sizeOf(result.shape) === 1 && size > 1 };
  });
  const body = (loaded: readonly string[], at: InlineContext): Body => {
    const [before, lines]: [string[], string[]] = [[], []];
    calls.forEach(({ op, own, sources, once }, k) => {
      const names = sources.map(({ from, index }) => (from === "input" ? loaded[index]! : `v${index}`));
      const place = once ? { ...at, index: at.type === "f32" ? "0u" : "vec4u(0u)" } : at;
      (once ? before : lines).push(`let v${k} = ${op.inline!(names, own, place)};`);
    });
    return { before, lines, value: `v${calls.length - 1}` };
  };
  return { label: nameOf(attrs), reads, body };
}

function lowerMap(spec: Spec<FusedAttrs>, target: Target, inPlace: boolean): ReturnType<Op["kernel"]> {
  const aval = spec.outputs[0]!;
  const size = sizeOf(aval.shape);
  const write = { operand: output(0), aval, walk: flat(size) };
  return { dispatches: lowerLoop({ ...loopOf(spec.attrs, size, inPlace), size, write }, target) };
}

/** Elementwise calls in one loop. */
export const fusedMap: Op<FusedAttrs> = {
  name: "fusedMap",
  infer: (_, attrs) => [valueOf(attrs)],
  reference: (inputs, { attrs }) => [evaluate(inputs, attrs)],
  kernel: (spec, target) => lowerMap(spec, target, false),
};

/** Elementwise calls whose value replaces input 0, a parameter that may be among what they read, at the same index. */
export const fusedUpdate: Op<FusedAttrs> = {
  name: "fusedUpdate",
  infer: ([target]) => [target!],
  reference(inputs, { attrs }) {
    inputs[0]!.set(evaluate(inputs, attrs));
    return [inputs[0]!];
  },
  kernel: (spec, target) => lowerMap(spec, target, true),
  aliases: [0],
  updates: true,
};

/** A sum whose summand is computed where it is read. */
export const fusedSum: Op<FusedAttrs & SumAttrs> = {
  name: "fusedSum",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  reference: (inputs, { attrs, outputs }) =>
    sumOp.reference([evaluate(inputs, attrs)], { inputs: [valueOf(attrs)], outputs, attrs }),
  kernel({ attrs }, target) {
    const { label, ...loop } = loopOf(attrs, attrs.outer * attrs.length * attrs.inner, false);
    return lowerSum({ ...loop, label: `sum of ${label}` }, attrs, target);
  },
};
