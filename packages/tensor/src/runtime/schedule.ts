/** @file From steps to a list of dispatches whose every operand is a stretch of a known buffer or slot. No GPU here. */
import { DeviceError } from "../errors.ts";
import type { Dispatch, Kernel, OperandRange } from "../kernels/kernel.ts";
import { assignLowering } from "../kernels/map.ts";
import type { Target } from "../kernels/target.ts";
import { keepOp, restoreOp } from "../ops/offload.ts";
import type { Lowering } from "../ops/op.ts";
import type { Tensor } from "../tensor.ts";
import type { Step } from "../trace/fuse.ts";
import type { Stretch } from "../trace/memory.ts";
import { showBytes } from "./device.ts";
import { bytesOf, place } from "./placement.ts";
import { type Life, pack, peak, type SlotPlace } from "./plan.ts";
import { padded } from "./transfer.ts";

/** A stretch of a named buffer or of a slot, bound to a kernel. */
export interface Binding {
  readonly buffer: string | number;
  readonly offset: number;
  readonly size: number;
}

/** A dispatch with its operands found. */
export interface Call {
  readonly kernel: Kernel;
  readonly bindings: readonly Binding[];
  readonly sizes: readonly number[];
  readonly workgroups: readonly [number, number, number];
  readonly cost: Dispatch["cost"];
  /** Where in the model it belongs. */
  readonly label: string;
}

/** A copy of a value to the host or back, between two calls. */
export interface Move {
  readonly to: "host" | "device";
  /** Number of the call before which it happens. */
  readonly before: number;
  /** Where the value is on the device. */
  readonly device: Binding;
  /** Number of the value among those on the host. */
  readonly held: number;
  /** Whether no later one needs the copy on the host. */
  readonly last: boolean;
}

/** What a program does, in order, and the slots it needs. */
export interface Schedule {
  readonly calls: readonly Call[];
  /** Copies between the calls, in order. */
  readonly moves: readonly Move[];
  /** Bytes of each value that waits on the host. */
  readonly held: readonly number[];
  /** Bytes of each slot, largest first. */
  readonly slots: readonly number[];
  /** The most activation bytes alive at once: what no plan could do without. */
  readonly peak: number;
  /** Where the values to read back lie when the run ends. */
  readonly outputs: readonly Binding[];
}

/** Memory that is not a named buffer: it gets a part of a slot for as long as dispatches touch it. */
interface Passing extends Life {
  readonly reads: number[];
  readonly writes: number[];
}
type Memory = Stretch | Passing;
const isPlace = (memory: Memory): memory is Stretch => "buffer" in memory;

/**
 * Lowers steps and plans their memory.
 * @param outputs values to read back.
 * @param leafPlace where a leaf lives.
 * @throws {DeviceError} if an operand is larger than a binding may be.
 */
export function schedule(
  steps: readonly Step[],
  outputs: readonly Tensor[],
  leafPlace: (t: Tensor) => Stretch,
  target: Target,
): Schedule {
  const placement = place(steps, outputs, leafPlace);
  const passing = new Map<Tensor, Passing>();
  const all: Passing[] = [];
  const fresh = (bytes: number): Passing => {
    const memory = { bytes: padded(bytes), reads: [], writes: [] };
    all.push(memory);
    return memory;
  };
  const memoryOf = (t: Tensor): Memory => {
    const root = placement.root(t);
    const known = placement.place(root) ?? passing.get(root);
    if (known !== undefined) return known;
    const memory = fresh(bytesOf(root));
    passing.set(root, memory);
    return memory;
  };

  const calls: { readonly dispatch: Dispatch; readonly label: string; readonly operands: readonly Memory[] }[] = [];
  const moves: (Pick<Move, "to" | "before" | "held"> & { readonly memory: Memory })[] = [];
  /** Values on the host, by the tensors that stand for them there. */
  const held = new Map<Tensor, { readonly index: number; readonly bytes: number }>();
  let now = 0; // counts calls and moves
  const append = (lowering: Lowering, label: string, inputs: readonly Memory[], results: readonly Memory[]): void => {
    const scratch = (lowering.scratch ?? []).map(fresh);
    for (const dispatch of lowering.dispatches) {
      const operands = dispatch.operands.map((operand) => {
        const memory = { input: inputs, output: results, scratch }[operand.of][operand.index];
        if (memory === undefined)
          throw new DeviceError(
            `kernel "${dispatch.kernel.label}" at ${label || "the top"} names ${operand.of} ${operand.index}, which its op does not have.`,
          );
        if (!isPlace(memory)) (operand.access === "read" ? memory.reads : memory.writes).push(now);
        return memory;
      });
      calls.push({ dispatch, label, operands });
      now++;
    }
  };
  const move = (to: Move["to"], value: Tensor, kept: Tensor): void => {
    const memory = memoryOf(value);
    const copy = held.get(kept) ?? { index: held.size, bytes: padded(memory.bytes) };
    held.set(kept, copy);
    moves.push({ to, before: calls.length, held: copy.index, memory });
    if (!isPlace(memory)) (to === "host" ? memory.reads : memory.writes).push(now);
    now++;
  };

  for (const { op, inputs, outputs: results, attrs, label } of placement.steps) {
    if (op === keepOp || op === restoreOp) {
      const [from, result] = [inputs[0] as Tensor, results[0] as Tensor]; // they have one of each
      if (op === keepOp) move("host", from, result);
      else move("device", result, from);
      continue;
    }
    const written = results.map(memoryOf);
    const buffers = new Set(written.filter(isPlace).map((p) => p.buffer));
    const updated = op.updates === true ? op.aliases : undefined;
    const read = inputs.map((t, i) => {
      const memory = memoryOf(t);
      if (!isPlace(memory) || !buffers.has(memory.buffer) || updated?.includes(i) === true) return memory;
      // A buffer cannot be read and written by one dispatch: read a copy.
      const copy = fresh(memory.bytes);
      append(assignLowering({ inputs: [t, t], outputs: [t], attrs: {} }, target), label, [copy, memory], [copy]);
      return copy;
    });
    append(op.kernel({ inputs, outputs: results, attrs }, target), label, read, written);
  }

  const ends = outputs.map(memoryOf);
  for (const memory of ends) if (!isPlace(memory)) memory.reads.push(now);
  const alive = all.filter((memory) => memory.reads.length + memory.writes.length > 0);
  const { sizes, places } = pack(alive);
  const slots = new Map(alive.map((memory, i) => [memory, places[i] as SlotPlace])); // pack gives each value a place
  const bind = (memory: Memory, { offset = 0, size }: OperandRange = {}): Binding => {
    const { bytes } = memory;
    const at = isPlace(memory) ? memory : (slots.get(memory) as SlotPlace); // what a dispatch or an output touches is alive
    return {
      buffer: "slot" in at ? at.slot : at.buffer,
      offset: at.offset + offset,
      size: size ?? padded(bytes) - offset,
    };
  };

  return {
    calls: calls.map(({ dispatch, label, operands }) => {
      const bindings = operands.map((memory, i) => bind(memory, dispatch.operands[i]));
      for (const { buffer, size } of bindings)
        if (size > target.maxBinding)
          throw new DeviceError(
            `kernel "${dispatch.kernel.label}" at ${label || "the top"} binds ${showBytes(size)} of ${typeof buffer === "string" ? buffer : "an activation"} at once; ` +
              `this adapter binds at most ${showBytes(target.maxBinding)}. Take smaller batches or shorter sequences.`,
          );
      return {
        kernel: dispatch.kernel,
        bindings,
        sizes: dispatch.sizes,
        workgroups: dispatch.workgroups,
        cost: dispatch.cost,
        label,
      };
    }),
    moves: moves.map(({ memory, ...rest }, i) => ({
      ...rest,
      device: bind(memory),
      last: !moves.slice(i + 1).some((later) => later.held === rest.held),
    })),
    held: Array.from(held.values(), ({ bytes }) => bytes),
    slots: sizes,
    peak: peak(alive),
    outputs: ends.map((memory) => bind(memory)),
  };
}

/** One line a dispatch: its kernel, sizes, workgroups, memory and site; and one a copy to the host or back. */
export function describe({ calls, moves }: Schedule): string {
  const name = ({ buffer }: Binding): string => (typeof buffer === "number" ? `#${buffer}` : buffer);
  const movesBefore = (call: number): readonly string[] =>
    moves
      .filter(({ before }) => before === call)
      .map(({ to, device, held }) => `${to === "host" ? "keep" : "restore"} ${held} [${name(device)}]`);
  return [
    ...calls.flatMap(({ kernel, sizes, workgroups, bindings, label }, i) => [
      ...movesBefore(i),
      `${kernel.label} (${sizes.join(", ")}) ${workgroups.join("×")} [${bindings.map(name).join(", ")}]${label === "" ? "" : `  ${label}`}`,
    ]),
    ...movesBefore(calls.length),
  ].join("\n");
}
