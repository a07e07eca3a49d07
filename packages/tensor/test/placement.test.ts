import { describe, expect, it } from "vitest";
import { assign } from "../src/ops/assign.ts";
import { add, scale, square } from "../src/ops/elementwise.ts";
import { reshape } from "../src/ops/layout.ts";
import type { LeafAttrs } from "../src/ops/leaf.ts";
import { matmul } from "../src/ops/linear.ts";
import { bytesOf, place, type Placement } from "../src/runtime/placement.ts";
import { type Tensor, Trace } from "../src/tensor.ts";
import type { Stretch } from "../src/trace/memory.ts";

/** Parameters a and b are parts of one bucket, "bucket" is the whole of it; every other leaf has a buffer of its own. */
const OFFSETS: Readonly<Record<string, number>> = { a: 0, b: 256, bucket: 0 };
function leafPlace(t: Tensor): Stretch {
  const { name } = t.node.attrs as LeafAttrs;
  const offset = OFFSETS[name];
  return { buffer: offset === undefined ? name : "bucket", offset: offset ?? 0, bytes: bytesOf(t) };
}

/** Builds a program and says which of its steps remain. */
function placed(build: (trace: Trace) => readonly Tensor[] | void): Placement & { readonly names: readonly string[] } {
  const trace = new Trace();
  const outputs = build(trace) ?? [];
  const placement = place(trace.nodes, outputs, leafPlace);
  return { ...placement, names: placement.steps.map((s) => s.op.name) };
}

describe("place", () => {
  it("makes an assigned value in the parameter's own memory", () => {
    let value: Tensor | undefined;
    const { names, place: at } = placed((t) => {
      value = square(t.input("x", [8]));
      assign(t.param("a", [8]), value);
    });
    expect(names).toEqual(["mul"]);
    expect(at(value!)).toEqual({ buffer: "bucket", offset: 0, bytes: 32 });
  });

  it("looks through views of the value", () => {
    const { names } = placed((t) => void assign(t.param("b", [2, 4]), reshape(square(t.input("x", [8])), [2, 4])));
    expect(names).toEqual(["mul"]);
  });

  it("gives a value its slot if nothing assigns it", () => {
    let value: Tensor | undefined;
    const { place: at } = placed((t) => [(value = square(t.input("x", [8])))]);
    expect(at(value!)).toBeUndefined();
  });

  it("copies a leaf", () => {
    expect(placed((t) => void assign(t.param("a", [8]), t.input("x", [8]))).names).toEqual(["assign"]);
  });

  it("copies what another parameter already holds", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      assign(t.param("p", [8]), value);
      assign(t.param("q", [8]), value);
    });
    expect(names).toEqual(["mul", "assign"]);
  });

  it("copies a value made from the parameter itself", () => {
    const { names } = placed((t) => void assign(t.param("p", [8]), add(t.param("p", [8]), t.input("x", [8]))));
    expect(names).toEqual(["add", "assign"]);
  });

  it("copies a value made from another parameter of the same bucket", () => {
    const { names } = placed((t) => void assign(t.param("a", [8]), square(t.param("b", [8]))));
    expect(names).toEqual(["mul", "assign"]);
  });

  it("copies a value if the old one is read after it is made", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      const old = scale(t.param("p", [8]), 2);
      assign(t.param("p", [8]), value);
      return [old];
    });
    expect(names).toEqual(["mul", "affine", "assign"]);
  });

  it("copies a value if the old one is read through its bucket after it is made", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      const old = scale(t.param("bucket", [128]), 2);
      assign(t.param("a", [8]), value);
      return [old];
    });
    expect(names).toEqual(["mul", "affine", "assign"]);
  });

  it("lets a value be read where it was assigned", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      assign(t.param("p", [8]), value);
      return [scale(value, 3)];
    });
    expect(names).toEqual(["mul", "affine"]);
  });

  it("copies a value if the parameter changes again before the value is last read", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      assign(t.param("a", [8]), value);
      assign(t.param("bucket", [128]), t.input("y", [128]));
      return [scale(value, 3)];
    });
    expect(names).toEqual(["mul", "assign", "assign", "affine"]);
  });

  it("copies a value that is read back if the parameter changes again", () => {
    const { names } = placed((t) => {
      const value = square(t.input("x", [8]));
      assign(t.param("a", [8]), value);
      assign(t.param("bucket", [128]), t.input("y", [128]));
      return [value];
    });
    expect(names).toEqual(["mul", "assign", "assign"]);
  });

  it("never reads and writes one bucket in one step", () => {
    // b's value is made from a's: only one of them may be made in the bucket.
    const {
      names,
      steps,
      place: at,
    } = placed((t) => {
      const value = square(t.input("x", [8]));
      assign(t.param("a", [8]), value);
      assign(t.param("b", [8]), scale(value, 3));
    });
    expect(names).toEqual(["mul", "affine", "assign"]);
    const buffers = (tensors: readonly Tensor[]): unknown[] => tensors.flatMap((t) => at(t)?.buffer ?? []);
    for (const { op, inputs, outputs } of steps) {
      const read = buffers(op.updates === true ? inputs.slice(1) : inputs); // an update does not read its target
      expect(read.filter((buffer) => buffers(outputs).includes(buffer))).toEqual([]);
    }
  });

  it("makes gradients of all members of a bucket in place", () => {
    const { names } = placed((t) => {
      const [x, y] = [t.input("x", [4, 2]), t.input("y", [2, 4])];
      assign(t.param("a", [4, 4]), matmul(x, y));
      assign(t.param("b", [2, 2]), matmul(y, x));
    });
    expect(names).toEqual(["matmul", "matmul"]);
  });
});
