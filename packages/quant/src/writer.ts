/** @file Writing bitsandbytes' layout: tensors that stand for a weight, each made when its turn comes. */
import { type CheckpointWriter, ConfigError, type FileType, type JsonObject, type TensorToWrite } from "@graftml/peft";
import { type DequantizeAttrs, sizeOf } from "@graftml/tensor";
import { encodingOf, type QuantConfig } from "./format.ts";
import { codesOfWeight, isQuantized, keepingLast, weightOf } from "./quant.ts";
import { type Quantized, scalesOf } from "./quantize.ts";

/**
 * Writes every linear's weight but the head's in four or eight bits, as transformers does with bitsandbytes.
 * @throws {ConfigError} for a quantization that the layout does not have.
 */
export function bitsandbytesWriter(config: QuantConfig): CheckpointWriter {
  const encoding = encodingOf(config);
  if (encoding.table === null && encoding.block !== null)
    throw new ConfigError(
      `quant.block: bitsandbytes stores int8 with a scale a row; leave block out, or set it to "row".`,
    );
  const codesOf = keepingLast(codesOfWeight);
  return {
    settings: settingsOf(config),
    tensors: async (site, base) => {
      if (!isQuantized(site)) return null;
      const [rows = 0, columns = 0] = site.shape;
      const attrs = { shape: [rows, columns] as const, encoding };
      const quantized = (): Promise<Quantized> => codesOf(base, site.path, attrs);
      const scales = async (): Promise<Scales> => scalesOf(await weightOf(base, site.path), attrs, site.path);
      const dtype = base.describe(site.path)?.dtype === "f16" ? "float16" : "float32";
      return encoding.table === null
        ? byteTensors(site.path, attrs.shape, quantized)
        : fourBitTensors(site.path, { ...attrs, type: config.type, dtype, table: encoding.table }, quantized, scales);
    },
  };
}

/** `quantization_config` as transformers writes it, but for a threshold that must be a float, which JSON here cannot say: its default. */
const settingsOf = ({ type, double_quant: nested }: QuantConfig): JsonObject => ({
  _load_in_4bit: type !== "int8",
  _load_in_8bit: type === "int8",
  bnb_4bit_compute_dtype: "float32",
  bnb_4bit_quant_storage: "uint8",
  bnb_4bit_quant_type: type === "int8" ? "fp4" : type,
  bnb_4bit_use_double_quant: nested,
  llm_int8_enable_fp32_cpu_offload: false,
  llm_int8_has_fp16_weight: false,
  llm_int8_skip_modules: null,
  load_in_4bit: type !== "int8",
  load_in_8bit: type === "int8",
  quant_method: "bitsandbytes",
});

/** The first bytes of words. */
const bytesOf = ({ buffer }: Quantized["codes"] | Quantized["scales"], length: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer, 0, length);

interface FourBits extends DequantizeAttrs {
  readonly type: string;
  /** Of the weight in full, by torch's name. */
  readonly dtype: string;
  readonly table: readonly number[];
}

type Scales = Omit<Quantized, "codes">;

/**
 * A weight's codes, scales and description. How long the description is hangs on the mean of the scales, and files hold floats
 * before bytes: where only scales are needed, codes are not made.
 */
async function fourBitTensors(
  name: string,
  { type, dtype, table, shape, encoding }: FourBits,
  quantized: () => Promise<Quantized>,
  scalesAlone: () => Promise<Scales>,
): Promise<readonly TensorToWrite[]> {
  const { block, nested } = encoding;
  const bytes = Math.ceil(sizeOf(shape) / 2);
  const blocks = Math.ceil(sizeOf(shape) / (block ?? 1));
  // A scale of scales for thousands of weights: that many can be kept.
  const ofScales = nested === null ? null : (await scalesAlone()).nested;
  const said = { quant_type: type, blocksize: block, dtype, shape };
  const more =
    nested === null || ofScales === null
      ? {}
      : { nested_blocksize: nested.block, nested_dtype: "float32", nested_offset: ofScales[0] };
  const text = new TextEncoder().encode(python({ ...said, ...more }));
  const tensor = (end: string, dtype: FileType, length: number, data: TensorToWrite["data"]): TensorToWrite => ({
    name: `${name}.${end}`,
    dtype,
    shape: [length],
    data,
  });
  const scales =
    nested === null || ofScales === null
      ? [tensor("absmax", "F32", blocks, async () => Float32Array.from((await scalesAlone()).scales))]
      : [
          tensor("absmax", "U8", blocks, async () => bytesOf((await quantized()).scales, blocks)),
          tensor("nested_absmax", "F32", Math.ceil(blocks / nested.block), () => ofScales.subarray(1)),
          tensor("nested_quant_map", "F32", nested.table.length, () => Float32Array.from(nested.table)),
        ];
  return [
    { name, dtype: "U8", shape: [bytes, 1], data: async () => bytesOf((await quantized()).codes, bytes) },
    ...scales,
    tensor("quant_map", "F32", table.length, () => Float32Array.from(table)),
    tensor(`quant_state.bitsandbytes__${type}`, "U8", text.length, () => text),
  ];
}

/** A weight in integers, the largest magnitudes of its rows, and the mark of this order. */
function byteTensors(
  name: string,
  [rows, columns]: DequantizeAttrs["shape"],
  quantized: () => Promise<Quantized>,
): readonly TensorToWrite[] {
  const module = name.slice(0, -".weight".length);
  return [
    { name, dtype: "I8", shape: [rows, columns], data: async () => bytesOf((await quantized()).codes, rows * columns) },
    {
      name: `${module}.SCB`,
      dtype: "F32",
      shape: [rows],
      data: async () => Float32Array.from((await quantized()).scales),
    },
    { name: `${module}.weight_format`, dtype: "U8", shape: [], data: () => new Uint8Array(1) },
  ];
}

/** JSON as Python writes it: spaces after separators, and its spelling of small and of whole floats. */
function python(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .map(([key, x]) => `${JSON.stringify(key)}: ${key === "nested_offset" ? pythonFloat(Number(x)) : python(x)}`)
      .join(", ")}}`;
  return JSON.stringify(value);
}

/** `repr` of a float: exponents below 1e-4, of two digits at least. */
function pythonFloat(x: number): string {
  if (Number.isInteger(x)) return x.toFixed(1);
  if (Math.abs(x) >= 1e-4) return String(x);
  return x.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}
