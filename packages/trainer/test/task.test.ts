import { adapt, declareAdapter, declareBase, defineMethod, z } from "@graftml/peft";
import { add, concat, fill, hostRuntime, reshape } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { causalLm, evaluate, type Example } from "../src/index.ts";
import { ready, toy, toyBase } from "./toy.ts";

const facts = { model: toy.info, draw: { seed: 0, epoch: 0, numbers: [] } };
const full = (...ids: readonly number[]): Example => ({ ids, labels: ids });

describe("collating rows for causal-lm", () => {
  it("moves labels by one and pads on the right", () => {
    const { inputs, labels, tokens } = causalLm.collate(
      [full(5, 6, 7), full(8, 9)],
      { batch: 2, length: 4, lead: 0 },
      facts,
    );
    expect([...inputs["ids"]!]).toEqual([5, 6, 7, 0, 8, 9, 0, 0]);
    expect([...inputs["labels"]!]).toEqual([6, 7, -100, -100, 9, -100, -100, -100]);
    expect([...inputs["mask"]!]).toEqual([1, 1, 1, 0, 1, 1, 0, 0]);
    expect([labels, tokens]).toEqual([3, 5]);
  });

  it("keeps the first token's label where virtual tokens lead", () => {
    const { inputs, labels } = causalLm.collate([full(5, 6, 7)], { batch: 1, length: 4, lead: 2 }, facts);
    expect([...inputs["labels"]!]).toEqual([5, 6, 7, -100]);
    expect(labels).toBe(3);
  });

  it("refuses rows for which methods leave too few positions, with both numbers", () => {
    const check = (length: number) => () =>
      causalLm.check(full(...Array.from({ length }, () => 1)), "row 0", { model: toy.info, lead: 0, room: 60 });
    expect(check(60)).not.toThrow();
    expect(check(61)).toThrow("row 0 has 61 tokens; this model tells 64 positions apart, of which methods take 4.");
  });

  it("fills a short batch with rows that do not count and are not blind", () => {
    const { inputs, labels, tokens } = causalLm.collate([full(5, 6)], { batch: 2, length: 2, lead: 0 }, facts);
    expect([...inputs["labels"]!]).toEqual([6, -100, -100, -100]);
    expect([...inputs["mask"]!]).toEqual([1, 1, 1, 0]);
    expect([labels, tokens]).toEqual([1, 2]);
  });
});

/** Two virtual tokens, of which the last is the embedding of token 4. */
const virtual = defineMethod({
  contract: 1,
  name: "virtual",
  group: "addition",
  source: "this test",
  config: z.object({}),
  adapt: () => ({
    embedding: {
      at: "*",
      wrap: (ids, next, here) => {
        const [batch = 0] = ids.shape;
        const rows = here.own("rows", [2, here.site.out], async ([, width = 0], _, base) => {
          const table = (await base.read("embed.weight")) as Float32Array;
          return [...table.subarray(0, width), ...table.subarray(4 * width, 5 * width)];
        });
        const each = add(reshape(rows, [1, 2, here.site.out]), fill(ids.node.trace, [batch, 2, here.site.out], 0));
        return concat([each, next(ids)], 1); // [B, 2 + T, D]
      },
    },
  }),
});

it("predicts a row's first token from the last virtual token, and all others as ever", async () => {
  const runtime = hostRuntime();
  const store = runtime.store();
  const adapter = adapt(toy, [virtual()]);
  declareBase(store, toyBase);
  declareAdapter(store, adapter, toyBase, { seed: 0 });
  const led = await evaluate({ runtime, store, model: toy, adapters: [adapter], task: causalLm, batchSize: 2 }, [
    full(1, 2, 3),
  ]);
  const plain = await evaluate({ ...ready(), task: causalLm, batchSize: 2 }, [full(4, 1, 2, 3)]);
  expect(led.loss).toBeCloseTo(plain.loss, 12);
});
