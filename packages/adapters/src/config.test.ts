import { logits, randomBase, started, tinyBert, tinyLlama, tinyT5 } from "@graftml/conformance";
import { adapt, type Here, type Model, rngOf } from "@graftml/peft";
import { concat, hostRuntime, sizeOf, sub } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { houlsby, parallel, pfeiffer } from "./adapters.ts";
import { keys } from "./config.ts";
import { coupling } from "./invertible.ts";

const large = tinyBert({
  sizes: { vocabulary: 30522, hidden: 1024, inner: 4096, heads: 16, keyHeads: 16, layers: 24, positions: 512 },
});
const llama = tinyLlama();
const owned = (method: ReturnType<typeof pfeiffer>, model: Model = llama) =>
  adapt(model, [method], { id: "a", modules: [] }).owned;
const counted = (method: ReturnType<typeof pfeiffer>, model: Model): number =>
  owned(method, model).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
/** Widths of the bottlenecks, by the paths of their sublayers. */
const widths = (method: ReturnType<typeof pfeiffer>, model: Model = llama) =>
  Object.fromEntries(
    owned(method, model).flatMap(({ name, shape: [width], site }) =>
      name.endsWith("adapter_down.0.bias") ? [[site.path, width]] : [],
    ),
  );

describe("bottleneck adapters", () => {
  it.each([
    [8, 835_968],
    [64, 6_343_680],
    [128, 12_638_208],
    [256, 25_227_264],
  ])("of %i features after both sublayers of BERT-large have as many numbers as the lectures say", (size, count) => {
    expect(counted(houlsby({ size, train_norms: false }), large)).toBe(count);
  });

  it("are as wide as their papers have them, unless told otherwise", () => {
    const first = (method: ReturnType<typeof pfeiffer>) => Object.values(widths(method, large))[0];
    expect([houlsby(), pfeiffer(), parallel()].map(first)).toEqual([64, 64, 512]);
    expect([houlsby({ reduction: 16 }), pfeiffer({ size: 5 })].map(first)).toEqual([64, 5]);
  });

  it("may be wider in some blocks, and left out of others; a decoder's blocks count on from its encoder's", () => {
    expect(widths(pfeiffer({ reduction: { 1: 2, default: 4 } }))).toEqual({
      "model.layers.0.mlp": 2,
      "model.layers.1.mlp": 4,
    });
    expect(widths(pfeiffer({ size: 1, leave_out: [0, 3] }), tinyT5())).toEqual({
      "encoder.block.1.layer.1.DenseReluDense": 1,
      "decoder.block.0.layer.2.DenseReluDense": 1,
    });
  });

  it("may leave out every block where an invertible one is left, and nowhere else", () => {
    const nowhere = { leave_out: [0, 1] };
    const kinds = owned(pfeiffer({ ...nowhere, invertible: { reduction: 1 } })).map(({ site }) => site.kind);
    expect(new Set(kinds)).toEqual(new Set(["layer"]));
    expect(() => owned(pfeiffer(nowhere))).toThrow("pfeiffer: all 2 residual sites that it targets are excluded.");
  });

  it("stand after attention to an encoder where told to", () => {
    expect(Object.keys(widths(houlsby({ at: ["cross"], train_norms: false }), tinyT5()))).toEqual(
      [0, 1].map((i) => `decoder.block.${i}.layer.1.EncDecAttention`),
    );
  });

  it.each<[string, () => unknown, string]>([
    ["a size and a reduction", () => owned(pfeiffer({ size: 2, reduction: 2 })), "two ways to say one thing"],
    [
      "a block without a reduction",
      () => owned(pfeiffer({ reduction: { 0: 2 } })),
      "reduction says nothing of block 1",
    ],
    [
      "a reduction of a block that is not there",
      () => owned(pfeiffer({ reduction: { 7: 2, default: 4 } })),
      "reduction 7",
    ],
    ["a block to leave out that is not there", () => owned(pfeiffer({ leave_out: [2] })), "leave_out 2 matches none"],
    ["nowhere to stand", () => pfeiffer({ at: [] }), "pfeiffer.at"],
  ])("are refused for %s", (_, attempt, message) => {
    expect(attempt).toThrow(message);
  });

  it("act inside out in a stack: what is above works on what is below made", async () => {
    const rig = { model: llama, base: randomBase(llama), runtime: hostRuntime() };
    const one = async (id: string, below: Parameters<typeof adapt>[2]) =>
      started(rig, adapt(llama, [houlsby({ size: 4, init: "bert", train_norms: false })], { id, ...below }));
    const noisy = async (id: string, below = {}) => {
      const { adapter, state } = await one(id, below);
      const rng = rngOf(id === "task" ? 1 : 2, "noise");
      return {
        adapter,
        state: new Map([...state].map(([k, v]) => [k, { ...v, values: v.values.map(() => rng.normal()) }])),
      };
    };
    const [language, task] = [await noisy("language"), await noisy("task")];
    expect(await logits(rig, [language, task])).not.toEqual(await logits(rig, [task, language]));
  });
});

describe("an invertible adapter", () => {
  it.each([8, 9])("is undone by its inverse, of %i features", async (D) => {
    const runtime = hostRuntime();
    const config = keys({ activation: "gelu", scaling: 1, init: "bert", at: ["mlp"], train_norms: false, width: "" });
    const program = await runtime.compile(runtime.store(), (trace) => {
      const own: Here["own"] = (name, shape) =>
        trace.constant(name, shape, () => {
          const rng = rngOf(0, name);
          return Float32Array.from({ length: sizeOf(shape) }, () => rng.normal());
        });
      const here = { own } as unknown as Here; // all that it needs
      const x = trace.constant("x", [2, 3, D], () => Float32Array.from({ length: 6 * D }, (_, i) => Math.sin(i)));
      const there = coupling(x, "forward", 2, config.parse({}), here);
      const back = coupling(there, "inverse", 2, config.parse({}), here);
      return { moved: sub(there, x), gap: sub(back, x), both: concat([there, back], 0) };
    });
    const { moved = [], gap = [] } = await program.run({});
    expect(Math.max(...Array.from(moved, Math.abs))).toBeGreaterThan(0.5);
    expect(Math.max(...Array.from(gap, Math.abs))).toBeLessThan(1e-5);
  });

  it("has one set of weights, at the embeddings and before the head, of an encoder-decoder at the encoder's only", () => {
    const shared = (model: Model) =>
      adapt(model, [pfeiffer({ invertible: {} })], { modules: [] }).sites.flatMap(({ site, methods }) =>
        site.kind !== "residual" && methods.length > 0 ? [site.path] : [],
      );
    expect(shared(llama)).toEqual(["model.embed_tokens", "lm_head"]);
    expect(shared(tinyT5())).toEqual(["encoder.embed_tokens", "lm_head"]);
    expect(owned(pfeiffer({ invertible: {} })).filter((o) => o.shared)).toHaveLength(8);
  });
});
