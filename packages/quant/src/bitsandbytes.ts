/**
 * @file Checkpoints in bitsandbytes' layout: a folder that transformers wrote with a quantized model is used as it is.
 * @see bitsandbytes `QuantState.as_dict`, `Linear8bitLt._save_to_state_dict`.
 */
import {
  type CheckpointFormat,
  type CheckpointWriter,
  defineMethod,
  type JsonObject,
  type Site,
  sites,
  StateError,
  type TensorEntry,
  type TensorFile,
  z,
} from "@graftml/peft";
import {
  codeLengths,
  decodeCodes,
  type DequantizeAttrs,
  type Encoding,
  sameShape,
  show,
  sizeOf,
} from "@graftml/tensor";
import { FP4, NF4 } from "./codebooks.ts";
import { quantConfig } from "./format.ts";
import { decodedAt, keepingLast } from "./quant.ts";
import type { Quantized } from "./quantize.ts";
import { bitsandbytesWriter } from "./writer.ts";

/** Ends of the names of tensors that belong to a weight. */
const STATE = /\.quant_state\.bitsandbytes__(nf4|fp4)$/;
const PARTS = /\.weight\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__(?:nf4|fp4))$/;
const ROWS = /\.(?:SCB|weight_format)$/;
/** Largest difference that a table in a file may have: FP4's was once written with four digits. */
const TABLE_TOLERANCE = 1e-4;

/** What the JSON of a weight in four bits says. */
const state = z.object({
  quant_type: z.enum(["nf4", "fp4"]),
  blocksize: z.int().positive().multipleOf(4),
  dtype: z.string(),
  shape: z.tuple([z.int().positive(), z.int().positive()]),
  nested_blocksize: z.int().positive().optional(),
  nested_dtype: z.literal("float32").optional(),
  nested_offset: z.number().optional(),
});

/** A weight of a checkpoint, as codes. */
interface StoredWeight {
  readonly attrs: DequantizeAttrs;
  read(): Promise<Quantized>;
}

/** Weights in four or eight bits, as transformers saves them with bitsandbytes. */
export const bitsandbytes: CheckpointFormat = {
  name: "bitsandbytes",
  async open(file, settings, model) {
    const stored = await weightsOf(file, settings);
    const transposed = new Set(sites(model).flatMap((s) => (s.kind === "linear" && s.transposed ? [s.weight] : [])));
    const nameIn = ({ path }: Site): string | undefined =>
      [path, path.slice(path.indexOf(".") + 1)].find((name) => stored.has(name));
    const isStored = (site: Site): boolean => nameIn(site) !== undefined;
    const method = defineMethod({
      contract: 1,
      name: "quant",
      group: "storage",
      source: "https://github.com/bitsandbytes-foundation/bitsandbytes",
      config: z.object({}),
      storesBase: true,
      adapt: () => {
        const weight = (site: Site): StoredWeight => {
          const found = stored.get(nameIn(site) ?? "");
          if (found === undefined) throw new StateError(`${file.name} has no codes of ${site.path}.`);
          return found;
        };
        const bySite = keepingLast((_, path) => weight({ path } as Site).read()); // only the path is looked at
        return {
          param: {
            at: (site) => site.kind === "param" && isStored(site),
            wrap: (_, __, here) => decodedAt(here, weight(here.site).attrs.encoding, bySite),
          },
        };
      },
    });
    const turned = (name: string): boolean =>
      [...transposed].some((weight) => weight === name || weight.endsWith(`.${name}`));
    return {
      file: decodedFile(file, stored, turned),
      methods: [method()],
      writer: () => writerLike(stored, settings, isStored),
    };
  },
};

/** Writes the same weights in the same form, and says of it what the checkpoint says. */
function writerLike(
  stored: ReadonlyMap<string, StoredWeight>,
  settings: JsonObject,
  isStored: (site: Site) => boolean,
): CheckpointWriter {
  const [{ name, block, nested }] = [...stored.values()].map(({ attrs }) => attrs.encoding) as [Encoding]; // one at least
  const writer = bitsandbytesWriter(quantConfig({ type: typeIn(name), block, double_quant: nested !== null }));
  return { settings, tensors: async (site, base) => (isStored(site) ? writer.tensors(site, base) : null) };
}

/** The checkpoint with decoded weights in place of codes. Weights that files hold as [in, out] are [out, in] as codes. */
function decodedFile(
  file: TensorFile,
  stored: ReadonlyMap<string, StoredWeight>,
  turned: (name: string) => boolean,
): TensorFile {
  const entry = (name: string, given: TensorEntry): TensorEntry => {
    const shape = stored.get(name)?.attrs.shape;
    return shape === undefined ? given : { ...given, dtype: "F32", shape: turned(name) ? shape.toReversed() : shape };
  };
  const isPart = (name: string): boolean =>
    PARTS.test(name) || (ROWS.test(name) && stored.has(name.replace(ROWS, ".weight")));
  return {
    ...file,
    tensors: new Map([...file.tensors].flatMap(([name, t]) => (isPart(name) ? [] : [[name, entry(name, t)]]))),
    pieces: (name) => (stored.has(name) ? null : file.pieces(name)),
    read: async (name) => {
      const weight = stored.get(name);
      if (weight === undefined) return file.read(name);
      const { codes, scales, nested } = await weight.read();
      const values = decodeCodes([codes, scales, nested], weight.attrs);
      const [rows, columns] = weight.attrs.shape;
      return turned(name) ? values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? 0) : values;
    },
  };
}

/** The weights that a checkpoint stores as codes, by name, all that is said of them checked. */
async function weightsOf(file: TensorFile, settings: JsonObject): Promise<ReadonlyMap<string, StoredWeight>> {
  const names = [...file.tensors.keys()];
  const weights = new Map<string, StoredWeight>();
  for (const name of names) {
    const type = STATE.exec(name)?.[1];
    if (type !== undefined) weights.set(name.replace(STATE, ""), await fourBitWeight(file, name, type));
    if (name.endsWith(".SCB"))
      weights.set(name.replace(/SCB$/, "weight"), byteWeight(file, name.slice(0, -".SCB".length)));
  }
  const said =
    settings["load_in_8bit"] === true ? "int8" : JSON.stringify(settings["bnb_4bit_quant_type"] ?? "fp4").slice(1, -1);
  if (weights.size === 0)
    throw new StateError(`${file.name}: config.json says that weights are stored as ${said}, but no tensor is.`);
  for (const [name, { attrs }] of weights)
    if (typeIn(attrs.encoding.name) !== said)
      throw new StateError(`${file.name}: ${name} is stored as ${attrs.encoding.name}, config.json says ${said}.`);
  return weights;
}

/** A tensor of exactly this type and length. @throws {StateError} if it is missing or another. */
function demand(file: TensorFile, name: string, types: readonly string[], length: number): void {
  const found = file.tensors.get(name);
  const what = found === undefined ? "is missing" : `is ${found.dtype} ${show(found.shape)}`;
  if (found === undefined || !types.includes(found.dtype) || sizeOf(found.shape) !== length)
    throw new StateError(`${file.name}: ${name} ${what}; its quantization wants ${types.join(" or ")} [${length}].`);
}

async function fourBitWeight(file: TensorFile, name: string, type: string): Promise<StoredWeight> {
  const weight = name.replace(STATE, "");
  const parsed = state.safeParse(jsonOf(new TextDecoder().decode(await file.bytes(name))));
  if (!parsed.success || parsed.data.quant_type !== type)
    throw new StateError(
      `${file.name}: ${name} is not the description of a weight in ${type}: ${parsed.success ? `it says ${parsed.data.quant_type}` : z.prettifyError(parsed.error)}.`,
    );
  const { blocksize: block, shape, nested_blocksize: nestedBlock, nested_offset: offset } = parsed.data;
  const size = sizeOf(shape);
  const blocks = Math.ceil(size / block);
  const isNested = nestedBlock !== undefined;
  demand(file, weight, ["U8"], Math.ceil(size / 2));
  demand(file, `${weight}.absmax`, [isNested ? "U8" : "F32"], blocks);
  const table = await tableOf(file, `${weight}.quant_map`, 16);
  const known = type === "nf4" ? NF4 : FP4;
  if (known.some((x, i) => !(Math.abs(x - (table[i] ?? NaN)) < TABLE_TOLERANCE)))
    throw new StateError(`${file.name}: ${weight}.quant_map is not the table of ${type}.`);
  if (isNested) {
    demand(file, `${weight}.nested_absmax`, ["F32"], Math.ceil(blocks / nestedBlock));
    if (offset === undefined || !Number.isFinite(offset))
      throw new StateError(`${file.name}: ${name} has a nested_blocksize, but no nested_offset.`);
  }
  const nested = isNested
    ? { table: await tableOf(file, `${weight}.nested_quant_map`, 256), block: nestedBlock }
    : null;
  const encoding: Encoding = { name: nameOf(type, table, nested?.table), table, block, nested };
  const attrs: DequantizeAttrs = { shape, encoding };
  return {
    attrs,
    read: async () => ({
      codes: wordsOf(await file.bytes(weight), codeLengths(attrs).codes),
      scales: isNested
        ? wordsOf(await file.bytes(`${weight}.absmax`), codeLengths(attrs).scales)
        : finite(file, `${weight}.absmax`, Float32Array.from(await file.read(`${weight}.absmax`))),
      nested: isNested
        ? finite(
            file,
            `${weight}.nested_absmax`,
            Float32Array.from([offset ?? 0, ...(await file.read(`${weight}.nested_absmax`))]),
          )
        : new Float32Array(),
    }),
  };
}

/** The type that the name of an encoding begins with. */
const typeIn = (name: string): string | undefined => name.split(" ")[0];

/** Tables that are not quite ours have names of their own, by their numbers. */
const nameOf = (type: string, table: readonly number[], nested: readonly number[] | undefined): string =>
  [type, ...(nested === undefined ? [] : ["nested"]), [...table, ...(nested ?? [])].join()].join(" ");

function byteWeight(file: TensorFile, module: string): StoredWeight {
  const weight = `${module}.weight`;
  const { shape = [] } = file.tensors.get(weight) ?? {};
  const [rows = 0, columns = 0] = shape;
  demand(file, weight, ["I8"], sizeOf(shape));
  demand(file, `${module}.SCB`, ["F32"], rows);
  if (!sameShape(shape, [rows, columns]))
    throw new StateError(`${file.name}: ${weight} is ${show(shape)}; a weight is [rows, columns].`);
  const attrs: DequantizeAttrs = {
    shape: [rows, columns],
    encoding: { name: "int8", table: null, block: null, nested: null },
  };
  return {
    attrs,
    read: async () => ({
      codes: wordsOf(await file.bytes(weight), codeLengths(attrs).codes),
      scales: finite(file, `${module}.SCB`, Float32Array.from(await file.read(`${module}.SCB`))),
      nested: new Float32Array(),
    }),
  };
}

async function tableOf(file: TensorFile, name: string, length: number): Promise<readonly number[]> {
  demand(file, name, ["F32"], length);
  const values = Float32Array.from(await file.read(name));
  return [...finite(file, name, values)];
}

function finite<V extends Float32Array>(file: TensorFile, name: string, values: V): V {
  const bad = values.find((x) => !Number.isFinite(x));
  if (bad !== undefined) throw new StateError(`${file.name}: ${name} holds ${bad}.`);
  return values;
}

/** Bytes as 32-bit words, zeros after the last. */
function wordsOf(bytes: Uint8Array, length: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(length);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // the schema refuses it
  }
}
