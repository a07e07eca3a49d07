/** @file 16-bit floats as 32-bit ones. */

/** Bits of the 32-bit float that each half-precision word stands for; made when the first words are widened. */
let table: Uint32Array | undefined;

function halfTable(): Uint32Array {
  const words = Uint16Array.from({ length: 2 ** 16 }, (_, word) => word);
  // Exponent and fraction moved to their places in 32 bits are the number times 2⁻¹¹², subnormal ones too.
  const moved = new Float32Array(Uint32Array.from(words, (word) => (word & 0x7fff) << 13).buffer);
  const bits = new Uint32Array(moved.map((x) => x * 2 ** 112).buffer);
  return bits.map((magnitude, word) => {
    const isFinite = (word & 0x7c00) !== 0x7c00;
    return (isFinite ? magnitude : 0x7f800000 | ((word & 0x3ff) << 13)) | ((word & 0x8000) << 16);
  });
}

/** The numbers that half-precision (IEEE 754 binary16) words stand for, exactly. */
export function widenHalf(words: Uint16Array): Float32Array<ArrayBuffer> {
  const widened = (table ??= halfTable());
  const bits = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) bits[i] = widened[words[i] ?? 0] ?? 0;
  return new Float32Array(bits.buffer);
}

/** The numbers that bfloat16 words stand for, exactly: the upper halves of 32-bit floats. */
export function widenBrain(words: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = Uint32Array.from(words, (word) => word << 16);
  return new Float32Array(bits.buffer);
}
