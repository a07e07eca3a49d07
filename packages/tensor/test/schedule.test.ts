import { describe, expect, it } from "vitest";
import { input, output, scratch } from "../src/kernels/kernel.ts";
import type { Target } from "../src/kernels/target.ts";
import { assign } from "../src/ops/assign.ts";
import type { LeafAttrs } from "../src/ops/leaf.ts";
import { keep, restore } from "../src/ops/offload.ts";
import type { Lowering, Op } from "../src/ops/op.ts";
import { bytesOf } from "../src/runtime/placement.ts";
import { type Binding, type Call, schedule, type Schedule } from "../src/runtime/schedule.ts";
import { apply, type Tensor, Trace } from "../src/tensor.ts";
import type { Stretch } from "../src/trace/memory.ts";

const target: Target = { family: "lanes", subgroup: 8, maxBinding: 2 ** 20, maxWorkgroups: 65535 };
const kernel = { label: "fake", code: "" };
const call = { kernel, sizes: [], workgroups: [1, 1, 1] } as const;

/** An op whose result has the shape of its first input, lowered as told. */
const op = (lowering: Lowering, more: Partial<Op> = {}): Op => ({
  name: "fake",
  infer: ([x]) => [x!],
  reference: ([x]) => [x!],
  kernel: () => lowering,
  ...more,
});
const map = op({ dispatches: [{ ...call, operands: [input(0), output(0)] }] });
const map2 = op({ dispatches: [{ ...call, operands: [input(0), input(1), output(0)] }] });

const leafPlace = (t: Tensor): Stretch => {
  const { name } = t.node.attrs as LeafAttrs;
  return { buffer: name.split(".")[0]!, offset: name.endsWith(".1") ? 256 : 0, bytes: bytesOf(t) };
};
function scheduled(build: (trace: Trace) => readonly Tensor[]): Schedule {
  const trace = new Trace();
  return schedule(trace.nodes, build(trace), leafPlace, target);
}
const lastOf = ({ bindings }: Call): Binding => bindings.at(-1)!;

describe("schedule", () => {
  it("reuses memory along a chain and reads the result back from where it ends", () => {
    const { calls, slots, outputs } = scheduled((t) => {
      let x = t.input("x", [100]);
      for (let i = 0; i < 10; i++) x = apply(map, [x], {});
      return [x];
    });
    expect(calls.length).toBe(10);
    expect(slots).toEqual([512, 512]);
    expect(outputs).toEqual([lastOf(calls[9]!)]);
  });

  it("keeps what is read back until the end of the run", () => {
    const { outputs } = scheduled((t) => {
      const early = apply(map, [t.input("x", [64])], {});
      let x = early;
      for (let i = 0; i < 5; i++) x = apply(map, [x], {});
      return [early, x];
    });
    expect(new Set(outputs.map((o) => o.buffer)).size).toBe(2);
  });

  it("gives scratch its own memory while the op runs, and that memory to others afterwards", () => {
    const staged = op({
      scratch: [4096, 4096],
      dispatches: [
        { ...call, operands: [input(0), scratch(0, "write")] },
        { ...call, operands: [scratch(0, "read"), scratch(1, "write")] },
        { ...call, operands: [scratch(1, "read"), output(0)] },
      ],
    });
    const { calls, slots } = scheduled((t) => [apply(staged, [apply(staged, [t.input("x", [4])], {})], {})]);
    expect(slots).toEqual([4096, 4096, 256]);
    for (const { bindings } of calls) expect(new Set(bindings.map((b) => b.buffer)).size).toBe(bindings.length);
  });

  it("gives views the memory of what they show", () => {
    const view = op({ dispatches: [] }, { aliases: [0] });
    const { calls } = scheduled((t) => [apply(map, [apply(view, [apply(map, [t.input("x", [8])], {})], {})], {})]);
    expect(calls.length).toBe(2);
    expect(calls[1]!.bindings[0]).toEqual(lastOf(calls[0]!));
  });

  it("adds the offset of a group's member to that of an operand", () => {
    const half = op({ dispatches: [{ ...call, operands: [input(0, { offset: 512, size: 512 }), output(0)] }] });
    const { calls } = scheduled((t) => [apply(half, [t.param("group.1", [256])], {})]);
    expect(calls[0]!.bindings[0]).toEqual({ buffer: "group", offset: 768, size: 512 });
  });

  it("lets an update write the parameter itself", () => {
    const update = op({ dispatches: [{ ...call, operands: [input(1), output(0)] }] }, { aliases: [0], updates: true });
    const { calls, slots, outputs } = scheduled((t) => [apply(update, [t.param("p", [8]), t.input("x", [8])], {})]);
    expect(lastOf(calls[0]!).buffer).toBe("p");
    expect(slots).toEqual([]);
    expect(outputs[0]!.buffer).toBe("p");
  });

  it("reads a copy where one dispatch would read and write one buffer", () => {
    const { calls } = scheduled((t) => {
      assign(t.param("group.0", [8]), t.param("group.1", [8]));
      return [];
    });
    expect(calls.map(({ bindings }) => bindings.map((b) => [b.buffer, b.offset]))).toEqual([
      [
        ["group", 256],
        [0, 0],
      ],
      [
        [0, 0],
        ["group", 0],
      ],
    ]);
  });

  it("moves a value to the host and back between two dispatches, and gives its memory to others meanwhile", () => {
    const { calls, moves, held, slots } = scheduled((t) => {
      const x = apply(map, [t.input("x", [100])], {});
      const kept = keep(x);
      let y = apply(map, [x], {});
      for (let i = 0; i < 3; i++) y = apply(map, [y], {});
      return [apply(map2, [restore(kept), y], {})];
    });
    expect(moves).toEqual([
      { to: "host", before: 1, held: 0, last: false, device: lastOf(calls[0]!) },
      { to: "device", before: 5, held: 0, last: true, device: calls[5]!.bindings[0] },
    ]);
    expect(held).toEqual([400]);
    expect(slots).toEqual([512, 512, 512]); // two for the chain, the last call reads two values and writes a third
  });

  it("does not let what is on its way to the host be written over", () => {
    const { calls, moves } = scheduled((t) => {
      const x = apply(map, [t.input("x", [100])], {});
      const y = apply(map, [t.input("y", [100])], {});
      const kept = keep(x);
      return [apply(map2, [y, apply(map, [restore(kept)], {})], {})];
    });
    expect(lastOf(calls[1]!).buffer).not.toBe(moves[0]!.device.buffer);
  });

  it("says what an operand needs if it is larger than a binding", () => {
    expect(() => scheduled((t) => [apply(map2, [t.input("x", [2 ** 19]), t.input("y", [4])], {})])).toThrow(
      /kernel "fake" at the top binds 2\.10 MB of x at once; this adapter binds at most 1\.05 MB/,
    );
  });

  it("names an operand that an op does not have", () => {
    const broken = op({ dispatches: [{ ...call, operands: [input(3), output(0)] }] });
    expect(() => scheduled((t) => [apply(broken, [t.input("x", [4])], {})])).toThrow(/names input 3/);
  });
});
