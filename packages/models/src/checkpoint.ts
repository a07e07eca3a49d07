/** @file The weights of a model as a safetensors checkpoint holds them. */
import { type Base, type Model, StateError, type TensorFile, widenHalf } from "@graftml/peft";
import { sameShape, show, type Source } from "@graftml/tensor";
import type { Family } from "./family.ts";
import { layoutOf, type Stored, transposed } from "./layout.ts";

/** Types that a weight may have in a file. */
const FLOATS = ["F32", "F16", "BF16"];

/** Most names that a message lists. */
const LISTED = 6;
const list = (names: readonly string[]): string =>
  names.slice(0, LISTED).join(", ") + (names.length > LISTED ? `, and ${names.length - LISTED} more` : "");

/** Roles of parameters that a checkpoint may lack: what a task puts on a body, which starts from random values then. */
const NEW = ["head", "pooler"];

/** The weights of a model, and which of them no file holds. */
export interface Checkpoint {
  readonly base: Base;
  /** Parameters that start from random values. */
  readonly drawn: readonly string[];
}

/**
 * The weights of a checkpoint, checked against the model, before any is read. Matrices in half precision stay so; all else
 * is f32. Files saved from the bare body (without "model." or "transformer.") and files that hold a tied weight under its
 * other name are read too; tensors that are computed, not learned, or that other tasks' heads need, are passed over.
 *
 * @param fresh where a task's head comes from that the file lacks.
 * @throws {StateError} listing tensors that are missing, unexpected, of the wrong shape or of a type that is no float; or
 * naming tied weights that the file holds twice, with different values.
 */
export async function checkpointBase(model: Model, family: Family, file: TensorFile, fresh: Base): Promise<Checkpoint> {
  const layout = layoutOf(model);
  /** What the file calls tensors, by the names they have by now. */
  const keys = new Map([...file.tensors.keys()].map((key) => [family.rename?.(key) ?? key, key]));
  const bare = (name: string): string =>
    name.slice(name.startsWith(`${family.prefix}.`) ? family.prefix.length + 1 : 0);
  /** Names of a parameter that the file has; the first is read. */
  const found = (s: Stored): readonly string[] =>
    [s.name, ...s.aliases].flatMap((n) => [...new Set([n, bare(n)])]).flatMap((n) => keys.get(n) ?? []);
  const places = new Map([...layout.values()].map((s) => [s.name, found(s)]));

  const faults: string[] = [];
  const absent = [...layout.values()].filter(({ name }) => places.get(name)?.length === 0);
  const drawn = absent.filter(({ roles }) => roles.some((role) => NEW.includes(role))).map(({ name }) => name);
  const missing = absent.map(({ name }) => name).filter((name) => !drawn.includes(name));
  if (missing.length > 0) faults.push(`missing (${missing.length} of ${layout.size}): ${list(missing)}`);
  const known = new Set([...places.values()].flat());
  const passed = (key: string): boolean =>
    [family.computed, family.otherHeads].some((names) => names?.test(key) === true);
  const unexpected = [...file.tensors.keys()].filter((key) => !known.has(key) && !passed(key));
  if (unexpected.length > 0) faults.push(`unexpected: ${list(unexpected)}`);
  for (const { name, fileShape } of layout.values())
    for (const place of places.get(name) ?? []) {
      const { shape = [], dtype = "" } = file.tensors.get(place) ?? {};
      if (!sameShape(shape, fileShape))
        faults.push(`${place} is ${show(shape)}, config.json makes it ${show(fileShape)}`);
      if (!FLOATS.includes(dtype)) faults.push(`${place} is ${dtype}, a weight is ${FLOATS.join(", ")}`);
    }
  if (faults.length > 0) throw new StateError(`${file.name} does not fit config.json. ${faults.join("; ")}.`);
  for (const names of places.values()) await checkSame(file, names);

  const stored = (name: string): { readonly layout: Stored; readonly place: string } | undefined => {
    const [place] = places.get(name) ?? [];
    const parameter = layout.get(name);
    return place === undefined || parameter === undefined ? undefined : { layout: parameter, place };
  };
  const half = (place: string): boolean => file.tensors.get(place)?.dtype === "F16";
  const isHalf = ({ shape }: Stored, place: string): boolean => shape.length > 1 && half(place);
  const base: Base = {
    names: () => layout.keys(),
    describe: (name) => {
      if (drawn.includes(name)) return fresh.describe(name);
      const s = stored(name);
      return s && { shape: s.layout.shape, dtype: isHalf(s.layout, s.place) ? "f16" : "f32" };
    },
    read: async (name) => {
      if (drawn.includes(name)) return fresh.read(name);
      const s = stored(name);
      if (s === undefined) throw new StateError(`${file.name} has no parameter ${name}.`);
      const source = await file.read(s.place);
      const values = source instanceof Uint16Array && !isHalf(s.layout, s.place) ? widenHalf(source) : source;
      return s.layout.transposed && !isList(values) ? transposed(values, s.layout.fileShape) : values;
    },
    pieces: (name) => {
      const s = drawn.includes(name) ? undefined : stored(name);
      const changed = s === undefined || s.layout.transposed || (half(s.place) && !isHalf(s.layout, s.place));
      return changed ? null : file.pieces(s.place);
    },
  };
  return { base, drawn };
}

const isList = (values: Source): values is readonly number[] => Array.isArray(values);

/** Tied weights that a file holds twice must agree: transformers would otherwise untie them. */
async function checkSame(file: TensorFile, [first, ...others]: readonly string[]): Promise<void> {
  if (first === undefined) return;
  for (const other of others)
    if (await differ(file, first, other))
      throw new StateError(
        `${file.name}: config.json ties ${other} to ${first}, but the file holds both and they differ. Set "tie_word_embeddings": false.`,
      );
}

/** Whether a file holds both tensors, and they differ. Most that do, do so in their first piece. */
export async function differ(file: TensorFile, one: string, other: string): Promise<boolean> {
  const [a, b] = [file.tensors.get(one), file.tensors.get(other)];
  if (a === undefined || b === undefined) return false;
  if (a.dtype !== b.dtype || a.bytes !== b.bytes) return true;
  const twins = eachPiece(file, other);
  for await (const piece of eachPiece(file, one)) {
    const { value: twin } = await twins.next();
    if (twin === undefined || !piece.equals(twin)) return true;
  }
  return false;
}

async function* eachPiece(file: TensorFile, name: string): AsyncGenerator<Buffer, undefined> {
  for await (const values of file.pieces(name) ?? [await file.read(name)]) {
    const { buffer, byteOffset, byteLength } = isList(values) ? Float64Array.from(values) : values;
    yield Buffer.from(buffer, byteOffset, byteLength);
  }
}
