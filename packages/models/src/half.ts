/** @file 32-bit floats as 16-bit ones. */

/** Magnitudes from here on round to infinity in half precision. */
export const HALF_LIMIT = 65_520;

/**
 * Half-precision (IEEE 754 binary16) words nearest to the numbers, ties to the even word.
 * @returns the words, and the first index whose number is not finite in half precision, or −1.
 */
export function narrowHalf(values: Float32Array): {
  readonly words: Uint16Array<ArrayBuffer>;
  readonly overflow: number;
} {
  const words = new Uint16Array(values.length);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const small = new Float32Array(1);
  const smallBits = new Uint32Array(small.buffer);
  for (let i = 0; i < words.length; i++) {
    const word = bits[i] ?? 0;
    const magnitude = word & 0x7fffffff;
    const sign = (word >>> 16) & 0x8000;
    // 13 bits of the fraction go and the exponent's bias shrinks by 112; a carry from rounding runs into the exponent.
    if (magnitude >= 0x38800000) words[i] = sign | (((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - 0x1c000);
    else {
      // Below 2⁻¹⁴ words count steps of 2⁻²⁴, as the fraction of a float between ½ and 1 does.
      small[0] = Math.abs(values[i] ?? 0) + 0.5;
      words[i] = sign | ((smallBits[0] ?? 0) - 0x3f000000);
    }
  }
  return { words, overflow: values.findIndex((x) => !(Math.abs(x) < HALF_LIMIT)) };
}
