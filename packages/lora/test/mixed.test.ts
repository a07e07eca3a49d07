import { randomBase, type Rig, shaken, started, tinyBert, tinyLlama } from "@graftml/conformance";
import { adapt, declareAdapter, declareBase, type Loaded, mixed, type Model, openScope, predict } from "@graftml/peft";
import { hostRuntime, type Trace, type Values } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

const B = 4;
const inputs = {
  ids: [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8],
  mask: Array.from({ length: 12 }, () => 1),
  types: Array.from({ length: 12 }, () => 0),
};

/** Logits of a batch, and how many products it takes. */
async function run({ model, base, runtime }: Rig, loaded: readonly Loaded[], rows: readonly number[] | null) {
  const store = runtime.store();
  declareBase(store, base);
  for (const { adapter, state } of loaded) declareAdapter(store, adapter, base, { seed: 0, state });
  let products = 0;
  const program = await runtime.compile(store, (trace: Trace) => {
    const stacks = loaded.map(({ adapter }) => adapter.layers);
    const layers = rows === null ? stacks.flat() : [mixed(trace.input("adapter", [B], "i32"), stacks)];
    const scope = openScope(trace, layers, { train: false, model: model.info });
    const y = predict(model, scope, { batch: B, length: 3 });
    products = trace.nodes.filter((node) => node.op.name === "matmul").length;
    return { y };
  });
  const { y = new Float64Array() } = await program.run({ ...inputs, ...(rows && { adapter: rows }) });
  return { y, products };
}

const rowOf = (y: Values, row: number): number[] =>
  Array.from(y.subarray((row * y.length) / B, ((row + 1) * y.length) / B));

describe.each([["a Llama", tinyLlama()] as const, ["a BERT", tinyBert()] as const])(
  "on %s, LoRAs of one configuration",
  (_, model: Model) => {
    const rig: Rig = { model, base: randomBase(model), runtime: hostRuntime() };
    const several = (count: number, config: Parameters<typeof lora>[0]) =>
      Promise.all(
        Array.from({ length: count }, async (__, i) =>
          shaken(await started(rig, adapt(model, [lora(config)], { id: `a${i}`, modules: [] })), i + 1),
        ),
      );

    it.each([{ rank: 2 }, { rank: 1, target: "all-linear" }, { rank: 3, rslora: true, dropout: 0.5 }])(
      "with %o give each row what it gives alone",
      async (config) => {
        const loaded = await several(3, config);
        const rows = [2, 0, 3, 1];
        const { y } = await run(rig, loaded, rows);
        for (const [row, stack] of rows.entries()) {
          const alone = await run(rig, stack === 0 ? [] : [loaded[stack - 1]!], null);
          rowOf(alone.y, row).forEach((v, i) => expect(rowOf(y, row)[i]).toBeCloseTo(v, 9));
        }
      },
    );

    it("take as many products as one, however many there are", async () => {
      const [two, five] = [await several(2, { rank: 2 }), await several(5, { rank: 2 })];
      const one = await run(rig, two.slice(0, 1), null);
      expect((await run(rig, two, [1, 2, 0, 1])).products).toBe(one.products);
      expect((await run(rig, five, [5, 2, 0, 1])).products).toBe(one.products);
    });

    it("stand beside one of another rank", async () => {
      const loaded = [
        ...(await several(2, { rank: 2 })),
        shaken(await started(rig, adapt(model, [lora({ rank: 4 })], { id: "wide", modules: [] }))),
      ];
      const { y } = await run(rig, loaded, [3, 1, 2, 3]);
      const wide = await run(rig, loaded.slice(2), null);
      rowOf(wide.y, 0).forEach((v, i) => expect(rowOf(y, 0)[i]).toBeCloseTo(v, 9));
    });
  },
);
