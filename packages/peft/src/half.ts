/** @file 16-bit floats as 32-bit ones. */

/** The numbers that half-precision (IEEE 754 binary16) words stand for, exactly. */
export function widenHalf(words: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(words.length);
  const bits = new Uint32Array(values.buffer);
  // Exponent and fraction moved to their places in 32 bits are the number times 2⁻¹¹², subnormal ones too.
  words.forEach((word, i) => (bits[i] = (word & 0x7fff) << 13));
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * 2 ** 112;
  words.forEach((word, i) => {
    const magnitude = (word & 0x7c00) === 0x7c00 ? 0x7f800000 | ((word & 0x3ff) << 13) : (bits[i] ?? 0);
    bits[i] = magnitude | ((word & 0x8000) << 16);
  });
  return values;
}

/** The numbers that bfloat16 words stand for, exactly: the upper halves of 32-bit floats. */
export function widenBrain(words: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = Uint32Array.from(words, (word) => word << 16);
  return new Float32Array(bits.buffer);
}
