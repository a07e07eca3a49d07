import { f16ToNumber } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { widenBrain, widenHalf } from "./half.ts";

describe("widening 16-bit floats", () => {
  it("gives every half-precision word the number it stands for", () => {
    const words = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);
    const values = widenHalf(words);
    const wrong = [...words].filter((word) => !Object.is(values[word], f16ToNumber(word)));
    expect(wrong.filter((word) => word !== 0x8000)).toEqual([]); // f16ToNumber gives −0 too, by another way
    expect(values[0x8000]).toBe(-0);
  });

  it("keeps the upper half of a bfloat16's 32 bits", () => {
    const numbers = [0, -0, 1, -2.5, 3.3895313892515355e38, 2 ** -133, Infinity, -Infinity, NaN];
    const words = Uint16Array.from(new Uint32Array(Float32Array.from(numbers).buffer), (bits) => bits >>> 16);
    expect([...widenBrain(words)]).toEqual(numbers);
  });
});
