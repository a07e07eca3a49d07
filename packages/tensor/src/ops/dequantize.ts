/** @file Matrices stored as codes: their decoding, and products that decode while they load. */
import { codeLengths, decodeCodes, type DequantizeAttrs } from "../encoding.ts";
import { ShapeError } from "../errors.ts";
import { dequantizeLowering } from "../kernels/dequantize.ts";
import { matmulLowering } from "../kernels/matmul.ts";
import { type Aval, show, sizeOf } from "../shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { type MatmulAttrs, matmulOp } from "./linear.ts";
import type { Op } from "./op.ts";

/** A matrix as codes. */
export interface Codes {
  /**
   * u32: codes side by side, the first in the lowest byte. Of two codes in a byte the first has the high half, as in
   * bitsandbytes, so that words are the bytes of its files.
   */
  readonly codes: Tensor;
  /** f32, one a block; codes of them, u32, where scales are nested. */
  readonly scales: Tensor;
  /** f32 [1 + blocks of scales]: what is added to every scale, then the scale of each block of scales. */
  readonly nested?: Tensor;
}

/** Inputs: codes, scales, nested scales if there are, then the tables as one constant if there are. */
export const dequantizeOp: Op<DequantizeAttrs> = {
  name: "dequantize",
  infer([codes, scales, nested], attrs) {
    const { shape, encoding } = attrs;
    const lengths = codeLengths(attrs);
    const wanted: readonly (readonly [string, Aval | undefined, Aval["dtype"], number])[] = [
      ["codes", codes, "u32", lengths.codes],
      ["scales", scales, encoding.nested === null ? "f32" : "u32", lengths.scales],
      ...(encoding.nested === null ? [] : ([["nested scales", nested, "f32", lengths.nested]] as const)),
    ];
    for (const [what, given, dtype, length] of wanted)
      if (given === undefined || given.dtype !== dtype || sizeOf(given.shape) !== length)
        throw new ShapeError(
          `dequantize ${encoding.name} ${show(shape)}: ${what} are ${given === undefined ? "missing" : `${given.dtype} ${show(given.shape)}`}; wants ${dtype} [${length}].`,
        );
    if (encoding.block !== null && encoding.block % 4 !== 0)
      throw new ShapeError(`dequantize ${encoding.name}: blocks of ${encoding.block}; wants a multiple of 4.`);
    return [{ shape, dtype: "f32" }];
  },
  reference: (inputs, { attrs }) => [Float64Array.from(decodeCodes(inputs, attrs))],
  kernel: (spec, target) => dequantizeLowering(spec, target),
};

/** A product whose second operand is codes; its bias, if any, is the last input. Only `fuse` makes it. */
export interface DecodingMatmulAttrs extends MatmulAttrs {
  readonly decode: DequantizeAttrs;
  /** Inputs that the decoding takes. */
  readonly parts: number;
}

/** A matrix product that decodes its second operand where it loads it. */
export const decodingMatmul: Op<DecodingMatmulAttrs> = {
  name: "decodingMatmul",
  infer([a, ...others], { decode, parts, layout }) {
    return matmulOp.infer([a!, { shape: decode.shape, dtype: "f32" }, ...others.slice(parts)], { layout });
  },
  reference([a, ...others], { attrs: { decode, parts, layout }, inputs: [aval, ...avals], outputs }) {
    const b = Float64Array.from(decodeCodes(others, decode));
    const inputs = [aval!, { shape: decode.shape, dtype: "f32" as const }, ...avals.slice(parts)];
    return matmulOp.reference([a!, b, ...others.slice(parts)], { attrs: { layout }, inputs, outputs });
  },
  kernel: ({ inputs: [a, ...others], outputs, attrs: { decode, parts, layout } }, target) =>
    matmulLowering(
      { inputs: [a!, { shape: decode.shape, dtype: "f32" }, ...others.slice(parts)], outputs, attrs: { layout } },
      target,
      { ...decode, parts },
    ),
};

/**
 * The matrix [rows, columns] that codes stand for, in f32: what the code stands for, times its block's scale.
 *
 * Products read the codes themselves (`fuse`), so it has memory only where something else reads it. It has no gradient.
 * @throws {ShapeError} if codes or scales have another length than shape and encoding give.
 */
export function dequantize({ codes, scales, nested }: Codes, attrs: DequantizeAttrs): Tensor {
  const tables = [...(attrs.encoding.table ?? []), ...(attrs.encoding.nested?.table ?? [])];
  const book = (): Tensor =>
    codes.node.trace.constant(`codebook ${attrs.encoding.name}`, [tables.length], () => Float32Array.from(tables));
  return apply(
    dequantizeOp,
    [codes, scales, ...(nested === undefined ? [] : [nested]), ...(tables.length > 0 ? [book()] : [])],
    attrs,
  );
}
