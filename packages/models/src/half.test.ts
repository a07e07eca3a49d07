import { widenHalf } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { HALF_LIMIT, narrowHalf } from "./half.ts";

const wordOf = (x: number): number => narrowHalf(Float32Array.of(x)).words[0]!;

describe("narrowHalf", () => {
  it("gives every finite half-precision number its own word back", () => {
    const words = Uint16Array.from({ length: 2 ** 16 }, (_, word) => word).filter((word) => (word & 0x7c00) !== 0x7c00);
    const { words: back, overflow } = narrowHalf(widenHalf(words));
    expect(back).toEqual(words);
    expect(overflow).toBe(-1);
  });

  it("rounds to the nearest word, and ties to the even one", () => {
    for (const word of [0, 1, 2, 0x3ff, 0x400, 0x401, 0x3c00, 0x3c01, 0x7bfe]) {
      const [low = 0, high = 0] = widenHalf(Uint16Array.of(word, word + 1));
      const middle = (low + high) / 2;
      expect(wordOf(middle)).toBe(word % 2 === 0 ? word : word + 1);
      expect(wordOf(middle - (high - low) / 64)).toBe(word);
      expect(wordOf(middle + (high - low) / 64)).toBe(word + 1);
      expect(wordOf(-middle)).toBe(0x8000 | wordOf(middle));
    }
  });

  it("says which number is the first that would be infinite", () => {
    expect(narrowHalf(Float32Array.of(1, -65_519, 7)).overflow).toBe(-1);
    expect(narrowHalf(Float32Array.of(1, HALF_LIMIT, NaN)).overflow).toBe(1);
    expect(narrowHalf(Float32Array.of(NaN)).overflow).toBe(0);
  });
});
