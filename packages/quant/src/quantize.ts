/** @file From weights to codes, on the host: the same bytes as bitsandbytes. */
import { StateError } from "@graftml/peft";
import { codeLengths, type DequantizeAttrs, type Encoding, middles, show } from "@graftml/tensor";
import { mean } from "./mean.ts";

/** A matrix as codes: what `dequantize` reads. */
export interface Quantized {
  readonly codes: Uint32Array<ArrayBuffer>;
  /** One a block; words of their codes where scales are nested. */
  readonly scales: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** What is added to every scale, then the scales of blocks of scales; empty where scales are not nested. */
  readonly nested: Float32Array<ArrayBuffer>;
}

/** Scales are no smaller than this in a last block that is not whole, as in bitsandbytes. */
const TINY = Math.fround(1e-38);

/**
 * The codes of a matrix, row by row.
 * @param name for messages.
 * @throws {StateError} naming the first weight that is NaN or infinite.
 */
export function quantize(values: Float32Array, attrs: DequantizeAttrs, name: string): Quantized {
  const { encoding, shape } = attrs;
  const block = encoding.block ?? shape[1];
  const most = magnitudes(values, attrs, name);
  const codes = new Uint32Array(codeLengths(attrs).codes);
  if (encoding.table === null) integers(values, codes, most, { block, byRows: encoding.block === null });
  else fourBits(values, codes, most, { block, table: encoding.table });
  return { codes, ...storedScales(most, encoding) };
}

/**
 * The scales of a matrix alone, as `quantize` gives them: a small part of its work.
 * @throws {StateError} naming the first weight that is NaN or infinite.
 */
export const scalesOf = (values: Float32Array, attrs: DequantizeAttrs, name: string): Omit<Quantized, "codes"> =>
  storedScales(magnitudes(values, attrs, name), attrs.encoding);

/** Largest magnitudes of blocks in the form in which they are stored. */
const storedScales = (most: Float32Array<ArrayBuffer>, { nested }: Encoding): Omit<Quantized, "codes"> =>
  nested === null ? { scales: most, nested: new Float32Array() } : nestedScales(most, nested);

/** Largest magnitude of each block. By rows, weights are rounded to f16 before. */
function magnitudes(
  values: Float32Array,
  { encoding, shape }: DequantizeAttrs,
  name: string,
): Float32Array<ArrayBuffer> {
  const bad = firstNotFinite(values);
  if (bad >= 0)
    throw new StateError(
      `${name} ${show(shape)} holds ${values[bad]} at [${Math.floor(bad / shape[1])}, ${bad % shape[1]}]: only numbers can be quantized. Check the checkpoint.`,
    );
  const { table, block } = encoding;
  const length = block ?? shape[1];
  const most = new Float32Array(Math.ceil(values.length / length));
  for (let b = 0; b < most.length; b++)
    most[b] = largest(values, b * length, Math.min((b + 1) * length, values.length));
  const last = most.length - 1;
  if (table !== null && values.length % length !== 0) most[last] = Math.max(most[last] ?? 0, TINY);
  if (table !== null || block !== null) return most;
  const rounded = most.map(toHalf);
  if (rounded.includes(Infinity))
    throw new StateError(`${name} holds weights that f16 cannot, which int8 by rows rounds to: choose a block of 64.`);
  return rounded;
}

/** Index of the first value that is NaN or infinite, or −1. */
function firstNotFinite(values: Float32Array): number {
  // What is not finite gives NaN when subtracted from itself.
  for (let i = 0; i < values.length; i++) if ((values[i] ?? 0) - (values[i] ?? 0) !== 0) return i;
  return -1;
}

/** Largest magnitude in [from, to). */
function largest(values: Float32Array, from: number, to: number): number {
  let most = 0;
  for (let i = from; i < to; i++) {
    const size = Math.abs(values[i] ?? 0);
    if (size > most) most = size;
  }
  return most;
}

/** Steps between 0 and 1 by which a code is looked up: no two middles of a table lie in one. */
const FINE = 2 ** 10;
const nearestTables = new WeakMap<readonly number[], Nearest>();

/** For each step from −1 on: the middle that lies in it, if one does, and the codes of the numbers below and above. */
interface Nearest {
  readonly middle: Float32Array;
  readonly codes: Uint8Array;
}

function nearestTable(table: readonly number[]): Nearest {
  const known = nearestTables.get(table);
  if (known !== undefined) return known;
  // Equal numbers keep their order: FP4's zero comes before its negative zero.
  const order = table.map((_, code) => code).sort((a, b) => (table[a] ?? 0) - (table[b] ?? 0));
  const bounds = middles(order.map((code) => table[code] ?? 0));
  const steps = 2 * FINE + 1;
  const made: Nearest = { middle: new Float32Array(steps), codes: new Uint8Array(2 * steps) };
  for (let i = 0, place = 0; i < steps; i++) {
    while ((bounds[place] ?? Infinity) < i / FINE - 1) place++;
    made.middle[i] = bounds[place] ?? Infinity;
    made.codes[2 * i] = order[place] ?? 0;
    made.codes[2 * i + 1] = order[place + 1] ?? 0;
  }
  nearestTables.set(table, made);
  return made;
}

/**
 * The nearest number of the table to x / (its block's largest magnitude); at a middle the lower one.
 * @see bitsandbytes `quantize_4bit`, backends/default.
 */
function fourBits(
  values: Float32Array,
  codes: Uint32Array,
  most: Float32Array,
  { block, table }: { readonly block: number; readonly table: readonly number[] },
): void {
  const { middle, codes: near } = nearestTable(table);
  for (let b = 0; b < most.length; b++) {
    const [from, to] = [b * block, Math.min((b + 1) * block, values.length)];
    const whole = to - from === block;
    const scale = most[b] ?? 0;
    const inverse = Math.fround(1 / Math.max(scale, TINY));
    for (let i = from, word = 0; i < to; i++) {
      const value = values[i] ?? 0;
      const x = Math.fround(whole ? value * inverse : value / scale);
      const step = ((x + 1) * FINE) | 0;
      // No branch: which way it goes could not be foretold.
      const code = near[2 * step + Number(x > (middle[step] ?? 0))] ?? 0;
      word |= code << (4 * ((i & 7) ^ 1));
      if ((i & 7) === 7 || i === to - 1) {
        codes[i >> 3] = word;
        word = 0;
      }
    }
  }
}

/** Adding and taking away this rounds an f32 to a whole number, halves to the even one. */
const WHOLE = 1.5 * 2 ** 23;
const toWhole = (x: number): number => Math.fround(Math.fround(x + WHOLE) - WHOLE);

/**
 * x · 127 / (its block's largest magnitude), rounded to whole numbers. By rows, weights are rounded to f16 before.
 * @see bitsandbytes `int8_vectorwise_quant` and `Int8Params`.
 */
function integers(
  values: Float32Array,
  codes: Uint32Array,
  most: Float32Array,
  { block, byRows }: { readonly block: number; readonly byRows: boolean },
): void {
  const rounded = byRows ? values.map(toHalf) : values;
  for (let b = 0; b < most.length; b++) {
    const [from, to] = [b * block, Math.min((b + 1) * block, values.length)];
    const scale = most[b] ?? 0;
    const factor = scale === 0 ? 0 : Math.fround(Math.fround(1 / scale) * 127);
    for (let i = from; i < to; i++) {
      const code = toWhole(Math.fround((rounded[i] ?? 0) * factor));
      const word = i >> 2;
      codes[word] = (codes[word] ?? 0) | ((code & 255) << (8 * (i & 3)));
    }
  }
}

/** The f16 nearest to an f32, halves to the even one; infinite from 65520 on. */
function toHalf(x: number): number {
  const size = Math.abs(x);
  if (size >= 65_520) return x * Infinity;
  // 2¹³ times what has the exponent of x: adding it leaves room for f16's 10 bits of fraction.
  const room = 1.5 * 2 ** (Math.max(-14, Math.floor(Math.log2(size))) + 13);
  return Math.fround(Math.fround(x + room) - room);
}

/** Steps of the table by which bitsandbytes finds an eight-bit code on the CPU, less one. */
const STEPS = 65_535;
const stepTables = new WeakMap<readonly number[], Uint8Array>();

/** The code of each step between −1 and 1: how many middles lie below it. */
function stepTable(table: readonly number[]): Uint8Array {
  let codes = stepTables.get(table);
  if (codes === undefined) {
    const bounds = middles(table);
    codes = new Uint8Array(STEPS + 1);
    for (let i = 0, code = 0; i <= STEPS; i++) {
      const x = Math.fround(-1 + Math.fround((2 * i) / STEPS));
      while (code < bounds.length && (bounds[code] ?? 0) < x) code++;
      codes[i] = code;
    }
    stepTables.set(table, codes);
  }
  return codes;
}

/** Scales less their mean as eight-bit codes, and the mean before the scales of these. */
function nestedScales(
  scales: Float32Array<ArrayBuffer>,
  { table, block }: NonNullable<Encoding["nested"]>,
): Omit<Quantized, "codes"> {
  const steps = stepTable(table);
  const offset = mean(scales);
  const centred = scales.map((x) => x - offset);
  const words = new Uint32Array(Math.ceil(scales.length / 4));
  const nested = new Float32Array(1 + Math.ceil(scales.length / block));
  nested[0] = offset;
  for (let from = 0; from < scales.length; from += block) {
    const to = Math.min(from + block, scales.length);
    const most = largest(centred, from, to);
    nested[1 + from / block] = most;
    const inverse = Math.fround(1 / most);
    for (let i = from; i < to; i++) {
      const x = most === 0 ? 0 : Math.min(1, Math.max(-1, Math.fround((centred[i] ?? 0) * inverse)));
      const step = Math.fround(Math.fround(Math.fround(Math.fround(x + 1) * 0.5) * STEPS) + 0.5);
      words[i >> 2] = (words[i >> 2] ?? 0) | ((steps[Math.trunc(step)] ?? 0) << (8 * (i & 3)));
    }
  }
  return { scales: words, nested };
}
