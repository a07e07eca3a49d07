/** @file What can be chosen of a quantization, and the encoding that it comes to. */
import { ConfigError, parseConfig, z } from "@graftml/peft";
import type { Encoding } from "@graftml/tensor";
import { DYNAMIC, FP4, NF4 } from "./codebooks.ts";

/** Lengths of blocks that bitsandbytes knows. */
const BLOCKS = [32, 64, 128, 256, 512, 1024, 2048, 4096];
/** Scales that share a scale of their own. */
const NESTED_BLOCK = 256;

/** Keys of a quantization, with bitsandbytes' names where they differ. */
export const config = z.object({
  type: z
    .enum(["nf4", "fp4", "int8"])
    .default("nf4")
    .describe(
      "How a weight is stored: four bits by quantiles of a normal distribution, four-bit floats, eight-bit integers.",
    ),
  block: z
    .union([z.int().refine((n) => BLOCKS.includes(n), `This is none of ${BLOCKS.join(", ")}.`), z.literal("row")])
    .nullable()
    .default(null)
    .describe("Consecutive weights that share a scale, or `row`; null: 64, and `row` for `int8`."),
  double_quant: z
    .boolean()
    .default(false)
    .describe("Store the scales in eight bits too, 256 to a scale of their own; only with four bits."),
});

/** A quantization with every default filled in. */
export type QuantConfig = z.output<typeof config>;

/**
 * A quantization from what a user says, with every default filled in.
 * @throws {ConfigError} naming the key.
 */
export const quantConfig = (input: unknown): QuantConfig => parseConfig("quant", config, input);

/**
 * The encoding of a configuration.
 * @throws {ConfigError} for what does not go together.
 */
export function encodingOf({ type, block, double_quant: nested }: QuantConfig): Encoding {
  const table = { nf4: NF4, fp4: FP4, int8: null }[type];
  if (table === null && nested)
    throw new ConfigError(`quant.double_quant: int8 stores one scale a row or block as it is; use nf4 or fp4.`);
  if (table !== null && block === "row")
    throw new ConfigError(`quant.block: ${type} has blocks of ${BLOCKS.join(", ")} weights; "row" is for int8.`);
  const length = block ?? (table === null ? "row" : 64);
  return {
    name: nested ? `${type} nested` : type,
    table,
    block: length === "row" ? null : length,
    nested: nested ? { table: DYNAMIC, block: NESTED_BLOCK } : null,
  };
}
