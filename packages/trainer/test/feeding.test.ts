import { adapt, declareAdapter, declareBase, type Model } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { dealer } from "../src/data.ts";
import {
  digest,
  evaluate,
  type Example,
  lazyRows,
  listOf,
  packedLm,
  packRows,
  planRun,
  train,
  causalLm,
} from "../src/index.ts";
import { lowRank, ready, rows, toy, toyBase } from "./toy.ts";

const job = { task: causalLm, batchSize: 2, steps: 9, lr: 0.02, seed: 5 } as const;

describe("rows that are made when they are needed", () => {
  const all = rows(7);
  const lazily = (made: number[] = []) =>
    lazyRows({
      sources: all.map((row, i) => ({ row, i })),
      make: ({ row, i }) => {
        made.push(i);
        return row;
      },
      weight: ({ row }) => row.ids.length,
      identity: ({ row }) => row,
      settings: [],
    });
  const losses = async (of: Parameters<typeof train>[0]["rows"], resume?: undefined): Promise<readonly number[]> => {
    const told: number[] = [];
    for await (const event of train({ ...ready(), ...job, rows: of, resume }))
      if (event.type === "step") told.push(event.loss);
    return told;
  };

  it("give the bits of rows that were there from the start", async () => {
    expect(await losses(lazily())).toEqual(await losses(all));
  });

  it("are counted as the host's time of the step that needs them", async () => {
    const slow = Array.from({ length: 200 }, (_, i) => i);
    const busy = (ms: number): void => {
      for (const until = performance.now() + ms; performance.now() < until;);
    };
    const run = { ...ready(), ...job, steps: 3 };
    const sources = { sources: slow, weight: (i: number) => -i, identity: (i: number) => i, settings: [] };
    const make = (i: number): Example => {
      busy(2);
      return all[i % 7]!;
    };
    for await (const event of train({ ...run, rows: lazyRows({ ...sources, make }), shuffle: false, steps: 40 }))
      if (event.type === "step" && event.step > 32) expect(event.hostMs).toBeGreaterThanOrEqual(4); // the first 64 are made before
  });

  it("are made once, and not before a step needs them but for the longest", async () => {
    const made: number[] = [];
    const many = lazyRows({
      sources: Array.from({ length: 500 }, (_, i) => i),
      make: (i) => {
        made.push(i);
        return all[i % 7]!;
      },
      weight: (i) => all[i % 7]!.ids.length,
      identity: (i) => i,
      settings: [],
    });
    const run = { ...ready(), ...job, rows: many, steps: 3 };
    for await (const event of train(run)) if (event.step === 3) break;
    expect(made.length).toBeLessThanOrEqual(64 + 3 * 2);
    expect(new Set(made).size).toBe(made.length);
  });

  it("are told from others by the same digits as rows that are there", () => {
    expect(lazily().lazy?.digest).toBe(digest(all));
  });

  it("are made anew where more is asked for than is kept", () => {
    const made: number[] = [];
    const large = lazyRows({
      sources: [0, 1, 2],
      make: (i) => made.push(i),
      weight: () => 2 ** 26,
      identity: (i) => i,
      settings: [],
    });
    for (const i of [0, 1, 0, 2, 1, 0]) large.at(i);
    expect(made).toEqual([0, 1, 2, 0]);
  });

  it("are tried longest first, of equals the first", () => {
    const weights = Array.from({ length: 200 }, (_, i) => (i * 7) % 50);
    const { lazy } = lazyRows({ sources: weights, make: (w) => w, weight: (w) => w, identity: (w) => w, settings: [] });
    const order = [...weights.keys()].sort((a, b) => weights[b]! - weights[a]! || a - b);
    expect(lazy?.longest).toEqual(order.slice(0, 64));
  });

  it("are planned for by the longest", () => {
    expect(planRun({ ...ready(), ...job, rows: lazily() })).toEqual(planRun({ ...ready(), ...job, rows: all }));
  });

  it("end the run where one cannot be used, naming it", async () => {
    const bad = lazyRows<number, Example>({
      sources: Array.from({ length: 200 }, (_, i) => i),
      make: (i) => (i === 150 ? { ids: [1], labels: [1], origin: "line 150" } : all[0]!),
      weight: (i) => (i === 150 ? 0 : 1),
      identity: (i) => i,
      settings: [],
    });
    const run = { ...ready(), ...job, rows: bad, steps: 100 };
    const told = async () => {
      for await (const event of train(run)) void event;
    };
    await expect(told()).rejects.toThrow(/row 150 \(line 150\) has no label/);
  });
});

describe("rows of like length in a batch", () => {
  const lengths = Array.from({ length: 103 }, (_, i) => (37 * i) % 101);
  const dealing = { rows: 103, batchSize: 4, accumulate: 1, seed: 3, lengthOf: (i: number) => lengths[i]! };

  it("are dealt out once an epoch, in batches of little spread and random order", () => {
    const deal = dealer({ ...dealing, shuffle: true });
    const batches = Array.from({ length: 26 }, (_, done) => deal(done)[0]!);
    expect(batches.flat().toSorted((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
    const spread = batches.map((b) => Math.max(...b.map((i) => lengths[i]!)) - Math.min(...b.map((i) => lengths[i]!)));
    expect(Math.max(...spread)).toBeLessThanOrEqual(5);
    const longest = batches.map((b) => Math.max(...b.map((i) => lengths[i]!)));
    expect(longest).not.toEqual(longest.toSorted((a, b) => a - b));
  });

  it("are the same whichever step is asked for first, and others in another epoch", () => {
    const straight = dealer({ ...dealing, shuffle: true });
    const wanted = Array.from({ length: 60 }, (_, done) => straight(done));
    expect(dealer({ ...dealing, shuffle: true })(31)).toEqual(wanted[31]);
    expect(wanted.slice(26, 51)).not.toEqual(wanted.slice(0, 25));
  });

  it("stand in the order of their lengths where rows are not shuffled", () => {
    const deal = dealer({ ...dealing, shuffle: false });
    const order = Array.from({ length: 26 }, (_, done) => deal(done)).flat(2);
    expect(order.map((i) => lengths[i]!)).toEqual(lengths.toSorted((a, b) => a - b));
  });
});

describe("packing", () => {
  /** The toy looks at one token at a time, so texts that share a row cannot see each other anyway. */
  const model: Model = {
    ...toy,
    inputs: (trace, size) => ({ ...toy.inputs(trace, size), packed: size.packed ?? false }),
  };
  const packed = (() => {
    const runtime = hostRuntime();
    const store = runtime.store();
    const adapter = adapt(model, [lowRank()]);
    declareBase(store, toyBase);
    declareAdapter(store, adapter, toyBase, { seed: 1 });
    return { runtime, store, model, adapters: [adapter], batchSize: 2 };
  })();
  const texts = rows(9);

  it("puts every text into a row once, whole, and no row is too long", () => {
    const full = listOf(packRows(texts, 16));
    expect(full.length).toBeLessThan(texts.length);
    expect(full.every(({ ids }) => ids.length <= 16)).toBe(true);
    const again = full.flatMap(({ ids, starts = [] }) => starts.map((start, i) => ids.slice(start, starts[i + 1])));
    const sorted = (lists: readonly (readonly number[])[]) => lists.map((ids) => ids.join(" ")).toSorted();
    expect(sorted(again)).toEqual(sorted(texts.map(({ ids }) => ids)));
  });

  it("numbers texts and counts their positions anew", () => {
    const rows = packRows(
      [
        { ids: [1, 2, 3], labels: [1, 2, 3] },
        { ids: [4, 5], labels: [4, 5] },
      ],
      8,
    );
    const facts = { model: toy.info, draw: { seed: 0, epoch: 0, numbers: [0] } };
    const { inputs, labels } = packedLm.collate([rows.at(0)!], { batch: 1, length: 6, lead: 0, packed: true }, facts);
    expect([...(inputs["mask"] as Float32Array)]).toEqual([1, 1, 1, 2, 2, 0]);
    expect([...(inputs["positions"] as Int32Array)]).toEqual([0, 1, 2, 0, 1, 0]);
    expect([...(inputs["labels"] as Int32Array)]).toEqual([2, 3, -100, 5, -100, -100]);
    expect(labels).toBe(3);
  });

  it("loses what the texts lose apart", async () => {
    const apart = await evaluate({ ...packed, task: causalLm }, texts);
    const together = await evaluate({ ...packed, task: packedLm }, packRows(texts, 24));
    expect(together.loss).toBeCloseTo(apart.loss, 12);
  });

  it("is refused where virtual tokens stand before a row", () => {
    const row = packRows(texts, 24).at(0);
    expect(() => packedLm.check(row!, "row 0", { model: toy.info, lead: 2, room: toy.info.maxLength })).toThrow(
      /packed rows have no place/,
    );
  });
});
