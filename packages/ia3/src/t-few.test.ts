import { tinyT5 } from "@graftml/conformance";
import { type Folder, type ShapedValues, sites, StateError, writeSafetensors } from "@graftml/peft";
import { describe, expect, it } from "vitest";
import { tFew } from "./index.ts";

const model = tinyT5();
/** A folder with one file of tensors. */
async function folderOf(tensors: ReadonlyMap<string, ShapedValues>, file = "ia3.safetensors"): Promise<Folder> {
  const entries = [...tensors].map(([name, { shape, values }]) => ({
    name,
    dtype: "F32" as const,
    shape,
    data: () => Float32Array.from(values),
  }));
  const pieces: number[] = [];
  for await (const piece of writeSafetensors(entries)) pieces.push(...piece);
  const bytes = Uint8Array.from(pieces);
  return {
    path: "checkpoint",
    names: [file],
    open: async () => ({
      name: file,
      size: bytes.length,
      read: async (from, length) => bytes.slice(from, from + length),
    }),
  };
}
/** Vectors as T-Few has them: for keys, values and the feed-forward's first map. */
const vectors = (rename = (name: string) => name): Map<string, ShapedValues> =>
  new Map(
    sites(model).flatMap((s): [string, ShapedValues][] =>
      s.kind === "linear" && /\.(k|v|wi)$/.test(s.path)
        ? [[rename(`${s.path}.multi_lora_b`), { shape: [s.out, 1], values: new Float32Array(s.out).fill(2) }]]
        : [],
    ),
  );

describe("T-Few's checkpoints", () => {
  it("are recognised by the names in them", async () => {
    expect(await tFew.recognises(await folderOf(vectors()))).toBe(true);
    expect(await tFew.recognises(await folderOf(vectors((name) => name.replace("multi_", ""))))).toBe(false);
    expect(await tFew.recognises({ ...(await folderOf(vectors())), names: ["a.pt", "b.pt"] })).toBe(false);
  });

  it("scale outputs only, of exactly the maps that are in them", async () => {
    const { adapter, state } = await tFew.read(await folderOf(vectors()), model, []);
    expect(adapter.methods[0]?.config).toEqual({ target: ["k", "v", "wi"], feedforward: [], exclude: [] });
    expect(state.size).toBe(2 * (3 + 5)); // cross-attention has keys and values of its own
    expect(adapter.owned.every(({ shape }) => shape[1] === 1)).toBe(true);
  });

  it("are refused if they are for another model, or lack a part of a vector", async () => {
    const other = await folderOf(vectors((name) => `model.${name}`));
    await expect(tFew.read(other, model, [])).rejects.toThrow("checkpoint has no vectors for this model");
    const bad = vectors();
    bad.set("encoder.block.0.layer.0.SelfAttention.k.multi_lora_b", { shape: [3, 1], values: new Float32Array(3) });
    await expect(tFew.read(await folderOf(bad), model, [])).rejects.toThrow(StateError);
  });
});
