import { tinyLlama } from "@graftml/conformance";
import { type Folder, rngOf, StateError } from "@graftml/peft";
import { GraftError } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { npy } from "./index.ts";

const model = tinyLlama();
/** A NumPy file of version 1.0. */
function fileOf(header: string, numbers: readonly number[], version = 1): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(`${header.padEnd(117)}\n`);
  const length = version > 1 ? [...new Uint8Array(Uint32Array.of(text.length).buffer)] : [text.length, 0];
  const head = [0x93, ...new TextEncoder().encode("NUMPY"), version, 0, ...length];
  return Uint8Array.from([...head, ...text, ...new Uint8Array(Float32Array.from(numbers).buffer)]);
}
const folderOf = (bytes: Uint8Array<ArrayBuffer>, name = "prompt.npy"): Folder => ({
  path: name,
  names: [name],
  open: async () => ({
    name,
    size: bytes.length,
    read: async (from, length) => {
      if (from + length > bytes.length) throw new StateError(`${name} ends at byte ${bytes.length}.`);
      return bytes.slice(from, from + length);
    },
  }),
});
const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8), }";
const numbers = Array.from({ length: 16 }, (_, i) => i / 4);

describe("a soft prompt in a NumPy file", () => {
  it.each([1, 2])("is read with its rows, in version %i of the format", async (version) => {
    const folder = folderOf(fileOf(header, numbers, version));
    expect(await npy.recognises(folder)).toBe(true);
    const { adapter, state } = await npy.read(folder, model, []);
    expect(adapter.methods[0]).toMatchObject({ name: "prompt", config: { tokens: 2 } });
    expect([...(state.get("prompt_embeddings")?.values ?? [])]).toEqual(numbers);
  });

  it.each<[string, Uint8Array<ArrayBuffer>, string]>([
    ["another width", fileOf(header.replace("(2, 8)", "(4, 4)"), numbers), "wrong shape"],
    ["other numbers", fileOf(header.replace("<f4", "<f8"), numbers), "is no array of 32-bit floats: its header is"],
    ["columns first", fileOf(header.replace("False", "True"), numbers), "its header is"],
    ["too few numbers", fileOf(header, numbers.slice(1)), "[2,8] takes 64 bytes, 60 are there"],
    ["anything else", new TextEncoder().encode("a prompt in words"), "it is no NumPy file"],
    ["nothing", new Uint8Array(), "it has 0 bytes"],
  ])("is refused for %s", async (_, bytes, message) => {
    await expect(npy.read(folderOf(bytes), model, [])).rejects.toThrow(StateError);
    await expect(npy.read(folderOf(bytes), model, [])).rejects.toThrow(message);
  });

  it("is refused, and nothing worse happens, whatever byte is wrong", async () => {
    const good = fileOf(header, numbers);
    const rng = rngOf(0, "npy");
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const bad = round % 3 === 0 ? good.slice(0, Math.floor(rng.uniform() * good.length)) : good.slice();
      bad[Math.floor(rng.uniform() * Math.min(80, bad.length))] = Math.floor(rng.uniform() * 256);
      await npy.read(folderOf(bad), model, []).catch((error: unknown) => {
        refused++;
        expect(GraftError.is(error), `round ${round}: ${String(error)}`).toBe(true);
      });
    }
    expect(refused).toBeGreaterThan(100);
  });
});
