/**
 * @file Soft prompts as NumPy files: one array [n, D], as google-research/prompt-tuning publishes them.
 * @see NumPy `lib/format.py`, "Format Version 1.0".
 */
import { adapt, type AdapterFormat, type ByteSource, checkState, type ShapedValues, StateError } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { prompt } from "./prompt.ts";

/** An array of 32-bit floats. @throws {StateError} if the file is damaged or holds anything else. */
async function readArray(source: ByteSource): Promise<ShapedValues> {
  const fail = (what: string): StateError => new StateError(`${source.name} is no array of 32-bit floats: ${what}.`);
  if (source.size < 12) throw fail(`it has ${source.size} bytes`);
  const head = await source.read(0, 12);
  if (head[0] !== 0x93 || new TextDecoder().decode(head.subarray(1, 6)) !== "NUMPY") throw fail("it is no NumPy file");
  const view = new DataView(head.buffer, head.byteOffset);
  const wide = (head[6] ?? 0) > 1;
  const [start, length] = wide ? [12, view.getUint32(8, true)] : [10, view.getUint16(8, true)];
  if (start + length > source.size) throw fail("it is truncated");
  const header = new TextDecoder().decode(await source.read(start, length));
  const kind = /'descr': *'([^']*)'/.exec(header)?.[1];
  const shape = /'shape': *\(([\d, ]*)\)/
    .exec(header)?.[1]
    ?.split(",")
    .flatMap((n) => (n.trim() === "" ? [] : [Number(n)]));
  if (kind !== "<f4" || shape === undefined || !header.includes("'fortran_order': False"))
    throw fail(`its header is ${header.trim()}`);
  const bytes = 4 * sizeOf(shape);
  if (start + length + bytes !== source.size)
    throw fail(`${JSON.stringify(shape)} takes ${bytes} bytes, ${source.size - start - length} are there`);
  const data = await source.read(start + length, bytes);
  return { shape, values: new Float32Array(data.slice().buffer) };
}

/** A soft prompt in a NumPy file; it is only read. */
export const npy: AdapterFormat = {
  name: "npy",
  recognises: async ({ names }) => names.length === 1 && names[0]?.endsWith(".npy") === true,
  async read(folder, model, _, options = {}) {
    const rows = await readArray(await folder.open(folder.names[0] ?? ""));
    const adapter = adapt(model, [prompt({ tokens: rows.shape[0] ?? 0 })], { modules: [], ...options });
    const state = new Map([["prompt_embeddings", rows]]);
    checkState(adapter, state);
    return { adapter, state };
  },
};
