/** @file Cuts rows of matrices into spans that bindings hold. */
import type { DequantizeAttrs } from "../encoding.ts";
import { bitsOf } from "../encoding.ts";
import { DeviceError } from "../errors.ts";
import type { OperandRange } from "./kernel.ts";

/** The part [start, start + length) of an axis. */
export interface Span {
  readonly start: number;
  readonly length: number;
  /** Whether it is less than the axis. */
  readonly cut: boolean;
}

/** Rows as they lie in memory. */
export interface Rows {
  readonly rowBytes: number;
  /** A span of rows begins at a multiple of so many: bindings begin at multiples of 256 bytes. */
  readonly unit: number;
}

/** Bytes of which a binding's offset is a multiple. */
const ALIGNMENT = 256;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
const lcm = (a: number, b: number): number => (a / gcd(a, b)) * b;
/** The least n for which n · step is a multiple of `of`. */
const turns = (step: number, of: number): number => of / gcd(of, step);

/** Rows of numbers. */
export const plainRows = (rowBytes: number): Rows => ({ rowBytes, unit: turns(rowBytes, ALIGNMENT) });

/** Rows of codes: a span of them begins with a block, too, so that scales can be counted from there. */
export function codedRows({ shape: [, columns], encoding }: DequantizeAttrs): Rows {
  const bits = columns * bitsOf(encoding);
  return { rowBytes: bits / 8, unit: lcm(turns(bits, 8 * ALIGNMENT), turns(columns, encoding.block ?? 1)) };
}

/** Number of the scale of a span's first row. */
export const firstScale = ({ start }: Span, { shape: [, columns], encoding: { block } }: DequantizeAttrs): number =>
  block === null ? start : (start * columns) / block;

/**
 * Spans of an axis so that those rows of every matrix fit a binding and begin where a binding may, and at a multiple of 4 for
 * the matrices that have columns along the axis.
 * @param op for messages.
 * @throws {DeviceError} if the least part is larger than a binding.
 */
export function cut(op: string, extent: number, matrices: readonly Rows[], maxBinding: number): readonly Span[] {
  const widest = Math.max(0, ...matrices.map((m) => m.rowBytes));
  if (widest * extent <= maxBinding) return [{ start: 0, length: extent, cut: false }];
  const fit = Math.floor(maxBinding / widest);
  const least = matrices.reduce((n, { unit }) => lcm(n, unit), 4);
  // Whole tiles where there is room for them.
  const tiles = lcm(least, 64);
  const unit = fit >= tiles ? tiles : least;
  const length = Math.floor(fit / unit) * unit;
  if (length === 0)
    throw new DeviceError(
      `${op}: ${least} rows of ${widest} bytes are the least that can be bound, but a binding holds ${maxBinding} bytes: use a device with larger bindings, or a narrower matrix.`,
    );
  return Array.from({ length: Math.ceil(extent / length) }, (_, i) => {
    const start = i * length;
    return { start, length: Math.min(length, extent - start), cut: true };
  });
}

/** The rows of a span; all there are where the axis is not cut. */
export const rowsIn = (span: Span, { rowBytes }: Pick<Rows, "rowBytes">): OperandRange =>
  span.cut ? { offset: span.start * rowBytes, size: Math.ceil((span.length * rowBytes) / 4) * 4 } : {};
