/** Names of AdapterHub's tensors, in every architecture that both sides have. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { adapterHub, houlsby } from "@graftml/adapters";
import { buildModel, families } from "@graftml/models";
import { adapt, type JsonObject, readHeader } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";

interface Case {
  readonly config: JsonObject;
  readonly task: string;
  /** Of an adapter "task" after attention, cross-attention and feed-forward, with an invertible one. */
  readonly names: readonly string[];
}
const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, "golden/hub-names.json"), "utf8")) as {
  readonly cases: Readonly<Record<string, Case>>;
};

describe("AdapterHub's names", () => {
  it.each(Object.entries(cases).filter(([type]) => families.some((f) => f.type === type)))(
    "are written for %s",
    async (type, { config, task, names }) => {
      const model = buildModel(config, { task });
      const at = type === "t5" ? (["attn", "cross", "mlp"] as const) : (["attn", "mlp"] as const);
      const invertible = names.some((name) => name.includes("invertible")) ? {} : (false as const);
      const adapter = adapt(model, [houlsby({ reduction: 4, at: [...at], train_norms: false, invertible })], {
        modules: [],
      });
      const state = new Map(
        adapter.owned.map((o) => [
          o.name.slice("default/".length),
          { shape: o.shape, values: new Float32Array(sizeOf(o.shape)) },
        ]),
      );
      const files = adapterHub.write?.(adapter, model, state, { name: "task", base: null }) ?? {};
      const pieces: number[] = [];
      for await (const piece of files["adapter.safetensors"] as AsyncIterable<Uint8Array>) pieces.push(...piece);
      const bytes = Uint8Array.from(pieces);
      const read = async (offset: number, length: number) => bytes.slice(offset, offset + length);
      const { tensors } = await readHeader({ name: "adapter.safetensors", size: bytes.length, read });
      expect([...tensors.keys()].toSorted()).toEqual(names);
    },
  );
});
