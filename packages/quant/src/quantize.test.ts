import { rngOf, StateError } from "@graftml/peft";
import { bitsOf, codeLengths, decodeCodes, type Encoding } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { DYNAMIC, FP4, NF4 } from "./codebooks.ts";
import { encodingOf, quant, quantize, type QuantConfig } from "./index.ts";
import { scalesOf } from "./quantize.ts";

const given = (config: Partial<QuantConfig>): Encoding =>
  encodingOf({ type: "nf4", block: null, double_quant: false, ...config });
const bytesOf = ({ buffer }: Uint32Array<ArrayBuffer>, length: number): number[] => [
  ...new Uint8Array(buffer, 0, length),
];
const normal = (size: number): Float32Array => {
  const rng = rngOf(0, "weights");
  return new Float32Array(size).map(() => 0.02 * rng.normal());
};

/** Root of the mean squared error of decoded weights, relative to the weights'. */
function errorOf(config: Partial<QuantConfig>): number {
  const values = normal(256 * 512);
  const attrs = { shape: [256, 512] as const, encoding: given(config) };
  const { codes, scales, nested } = quantize(values, attrs, "w");
  const decoded = decodeCodes([codes, scales, nested], attrs);
  return Math.hypot(...blocks(decoded.map((x, i) => x - (values[i] ?? 0)))) / Math.hypot(...blocks(values));
}
/** Lengths of pieces: a call takes only so many arguments. */
const blocks = (values: Float32Array): number[] =>
  Array.from({ length: values.length / 512 }, (_, i) => Math.hypot(...values.subarray(i * 512, (i + 1) * 512)));

describe("codebooks", () => {
  it("hold as many different numbers as they have codes, but for the two zeros of FP4", () => {
    expect(new Set(NF4).size).toBe(16);
    expect(new Set(FP4).size).toBe(15);
    expect(new Set(DYNAMIC).size).toBe(256);
    expect([DYNAMIC[0], DYNAMIC[255]]).toEqual([Math.fround(-0.99296874), 1]);
  });
});

describe("quantize", () => {
  it("gives the bytes of the reference for numbers from −1 to 1", () => {
    const values = new Float32Array(64).map((_, i) => (i < 32 ? -1 + (2 / 63) * i : 1 - (2 / 63) * (63 - i)));
    const { codes } = quantize(values, { shape: [1, 64], encoding: given({}) }, "w");
    // From bitsandbytes, over torch.linspace(-1, 1, 64).
    expect(bytesOf(codes, 32)).toEqual([
      0, 0, 1, 17, 17, 17, 18, 34, 34, 51, 52, 68, 69, 85, 102, 103, 120, 136, 153, 170, 171, 187, 204, 204, 221, 221,
      238, 238, 238, 239, 255, 255,
    ]);
  });

  it("takes a last block that is not whole, and blocks of zeros", () => {
    const attrs = { shape: [1, 100] as const, encoding: given({}) };
    const values = normal(100).map((x, i) => (i < 64 ? 0 : x));
    const { codes, scales } = quantize(values, attrs, "w");
    expect(codeLengths(attrs)).toEqual({ codes: 13, scales: 2, nested: 0 });
    expect(scales[0]).toBe(0);
    expect(bytesOf(codes, 32)).toEqual(new Array(32).fill(119));
    const decoded = decodeCodes([codes, scales], attrs);
    expect(decoded.subarray(0, 64).every((x) => x === 0)).toBe(true);
    expect(Math.max(...decoded.subarray(64).map((x, i) => Math.abs(x - (values[64 + i] ?? 0))))).toBeLessThan(0.01);
    const double = { ...attrs, encoding: given({ double_quant: true }) };
    expect(decodeCodes(Object.values(quantize(new Float32Array(100), double, "w")), double).every((x) => x === 0)).toBe(
      true,
    );
  });

  it.each<Partial<QuantConfig>>([{}, { double_quant: true }, { type: "fp4", block: 32 }, { type: "int8" }])(
    "gives the same scales where they alone are asked for (%o)",
    (config) => {
      const attrs = { shape: [7, 43] as const, encoding: given(config) };
      const { codes: _, ...scales } = quantize(normal(7 * 43), attrs, "w");
      expect(scalesOf(normal(7 * 43), attrs, "w")).toEqual(scales);
      expect(() => scalesOf(new Float32Array(7 * 43).fill(NaN), attrs, "w")).toThrow("w [7, 43] holds NaN at [0, 0]");
    },
  );

  it("finds the nearest number of a table, at a middle the lower one", () => {
    for (const table of [NF4, FP4]) {
      const sorted = [...new Set(table.map((x) => x + 0))].sort((a, b) => a - b);
      const middles = sorted.slice(1).map((x, i) => Math.fround(Math.fround((sorted[i] ?? 0) + x) / 2));
      const around = middles.flatMap((x) => [x * (1 - 2 ** -23), x, x * (1 + 2 ** -23)]);
      // A 1 makes the block's largest magnitude 1, so that values are looked up as they are.
      const values = Float32Array.from([1, ...around, ...new Array<number>(63 - around.length).fill(0)]);
      const attrs = { shape: [1, 64] as const, encoding: given({ type: table === NF4 ? "nf4" : "fp4" }) };
      const { codes, scales } = quantize(values, attrs, "w");
      const decoded = decodeCodes([codes, scales], attrs);
      values.forEach((x, i) => {
        const place = middles.findIndex((middle) => x <= middle);
        expect(decoded[i], `${x}`).toBeCloseTo(sorted[place < 0 ? sorted.length - 1 : place] ?? NaN, 7);
      });
    }
  });

  it.each([NaN, Infinity, -Infinity])("refuses %s, with the weight's name and place", (bad) => {
    const values = new Float32Array(12);
    values[7] = bad;
    const quantizing = (): unknown => quantize(values, { shape: [3, 4], encoding: given({}) }, "h.0.weight");
    expect(quantizing).toThrow(StateError);
    expect(quantizing).toThrow(`h.0.weight [3, 4] holds ${bad} at [1, 3]`);
  });

  it("is as close to normal weights as the paper's types are", () => {
    const nf4 = errorOf({});
    expect(nf4).toBeLessThan(0.093);
    expect(errorOf({ double_quant: true }) / nf4).toBeLessThan(1.002);
    expect(nf4 / errorOf({ type: "fp4" })).toBeCloseTo(0.754, 2);
    expect(errorOf({ type: "int8" })).toBeLessThan(0.01);
    expect(errorOf({ type: "int8", block: 64 })).toBeLessThan(errorOf({ type: "int8" }));
  });

  it("takes 4.127 bits a weight with scales in eight bits, 4.5 without", () => {
    const bits = (config: Partial<QuantConfig>): number => {
      const attrs = { shape: [4096, 4096] as const, encoding: given(config) };
      const { codes, scales, nested } = codeLengths(attrs);
      expect(codes * 32).toBe(4096 ** 2 * bitsOf(attrs.encoding));
      return (32 * (codes + scales + nested)) / 4096 ** 2;
    };
    expect(bits({ double_quant: true })).toBeCloseTo(4.127, 3);
    expect(bits({})).toBe(4.5);
  });
});

describe("a configuration", () => {
  it("that does not go together is refused, with the key and the way out", () => {
    expect(() => quant({ type: "int8", double_quant: true })).toThrow("quant.double_quant: int8 stores");
    expect(() => quant({ block: "row" })).toThrow("quant.block: nf4 has blocks of 32, 64");
    expect(() => quant({ block: 48 })).toThrow("quant.block");
  });
});
