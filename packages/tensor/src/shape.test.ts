/** @file Arithmetic on shapes. */
import { describe, expect, it } from "vitest";
import { ShapeError } from "./errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  lengthOf,
  normalizeAxis,
  sameShape,
  show,
  sizeOf,
  stridesOf,
} from "./shape.ts";

describe("shapes", () => {
  it("count their elements, one for a scalar", () => {
    expect([sizeOf([]), sizeOf([3]), sizeOf([2, 3, 4]), sizeOf([5, 0])]).toEqual([1, 3, 24, 0]);
  });

  it("have row-major strides", () => {
    expect(stridesOf([2, 3, 4])).toEqual([12, 4, 1]);
    expect(stridesOf([])).toEqual([]);
  });

  it("are the same only with the same axes", () => {
    expect(sameShape([2, 3], [2, 3])).toBe(true);
    expect(sameShape([2, 3], [3, 2])).toBe(false);
    expect(sameShape([2], [2, 1])).toBe(false);
  });

  it("are shown as lists", () => expect(show([4, 512])).toBe("[4, 512]"));

  it("know an axis from either end", () => {
    expect(lengthOf([2, 3, 4], -1)).toBe(4);
    expect(normalizeAxis("sum", [2, 3, 4], -3)).toBe(0);
    expect(() => lengthOf([2], 1)).toThrow("shape [2] has no axis 1");
    expect(() => normalizeAxis("sum", [2, 3], 2)).toThrow("sum: axis 2 is not an axis of [2, 3]");
    expect(() => normalizeAxis("sum", [2, 3], 0.5)).toThrow(ShapeError);
  });
});

describe("broadcasting", () => {
  it("aligns shapes at the last axis", () => {
    expect(broadcastShapes("add", [2, 3], [3])).toEqual([2, 3]);
    expect(broadcastShapes("add", [2, 1, 4], [3, 1])).toEqual([2, 3, 4]);
    expect(broadcastShapes("add", [], [2])).toEqual([2]);
  });

  it("names the op, both shapes and the axis that differ", () => {
    expect(() => broadcastShapes("add", [2, 3], [4, 3])).toThrow(
      "add: [2, 3] and [4, 3] do not broadcast: axis -2 has 2 and 4.",
    );
  });

  it("repeats an operand by strides of zero", () => {
    expect(broadcastStrides([3, 1], [2, 3, 4])).toEqual([0, 1, 0]);
    expect(broadcastStrides([], [2, 3])).toEqual([0, 0]);
  });
});
