import { adapt, type Adapted, type Adapter, declareAdapter, declareBase, defineMethod, normal, z } from "@graftml/peft";
import { add, concat, fill, hostRuntime, linear, shift, type Tensor } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { type GenerateRequest, loadModel, logitsOf, type NewToken, openGenerator, type Setup } from "../src/index.ts";
import { inferenceScope, layersIn } from "../src/logits.ts";
import { likeliest } from "../src/sample.ts";
import { folderOf, goldenOf } from "./golden.ts";

/** One row per sequence of a batch. [1, ...] → [B, ...] */
const spread = (x: Tensor, batch: number): Tensor => add(x, fill(x.node.trace, [batch, ...x.shape.slice(1)], 0));

/** Trained rows before the tokens, as prompt tuning has them. */
const prompt = defineMethod({
  contract: 1,
  name: "prompt-like",
  group: "addition",
  source: "test",
  config: z.object({}),
  adapt: () => ({
    embedding: {
      at: "*",
      wrap: (ids, next, { own, site }) => {
        const rows = own("rows", [1, 3, site.out], normal(0.5));
        return concat([spread(rows, ids.shape[0]!), next(ids)], 1);
      },
    },
  }),
});

/** Trained keys and values before those of the tokens, as prefix tuning has them. */
const prefix = defineMethod({
  contract: 1,
  name: "prefix-like",
  group: "addition",
  source: "test",
  config: z.object({}),
  adapt: () => ({
    positions: { at: "*", wrap: (ids, next) => next(shift(ids, 2)) },
    attention: {
      at: "*",
      wrap: (heads, next, { own, site }) => {
        const [batch = 0] = heads.k.shape;
        const rows = (name: string): Tensor => spread(own(name, [1, 2, site.out, site.in], normal(0.5)), batch);
        const mask = heads.mask && concat([fill(heads.mask.node.trace, [batch, 2], 1), heads.mask], 1);
        return next({ ...heads, k: concat([rows("k"), heads.k], 1), v: concat([rows("v"), heads.v], 1), mask });
      },
    },
  }),
});

async function open(name: string, methods: readonly Adapted[] = []): Promise<Setup> {
  const { model, base } = await loadModel(folderOf(name), { task: goldenOf(name).task });
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, base);
  if (methods.length === 0) return { runtime, store, model };
  const adapter = adapt(model, methods);
  declareAdapter(store, adapter, base, { seed: 1 });
  return { runtime, store, model, adapters: [adapter] };
}

async function all(tokens: AsyncIterable<NewToken>): Promise<NewToken[]> {
  const list: NewToken[] = [];
  for await (const token of tokens) list.push(token);
  return list;
}

/** Ids by row. */
const byRow = (tokens: readonly NewToken[], rows: number): number[][] =>
  Array.from({ length: rows }, (_, row) => tokens.filter((t) => t.row === row).map((t) => t.id));

const written = async (setup: Setup, request: GenerateRequest): Promise<number[][]> =>
  byRow(await all(openGenerator(setup).generate(request)), request.prompts.length);

/** The same of an encoder-decoder, which reads the source and the whole of what it has written at every step. */
async function answerWithoutCache(setup: Setup, source: readonly number[], count: number): Promise<number[]> {
  const { runtime, store, model } = setup;
  const ids = [model.info.decoderStart!];
  while (ids.length <= count) {
    const program = await runtime.compile(store, (trace) => {
      const scope = inferenceScope(trace, setup, layersIn(setup));
      const read = model.inputs(trace, { batch: 1, length: source.length, target: ids.length });
      return { logits: model.head(scope, model.forward(scope, read), read) };
    });
    const { logits } = await program.run({ ids: source, mask: source.map(() => 1), decoder_ids: ids });
    ids.push(likeliest(logits!.slice(-model.info.vocabulary)));
  }
  return ids.slice(1);
}

/** The likeliest tokens without a cache: every step runs the whole sequence again. */
async function withoutCache(setup: Setup, start: readonly number[], count: number): Promise<number[]> {
  if (setup.model.info.decoderStart !== undefined) return answerWithoutCache(setup, start, count);
  const ids = [...start];
  for (let i = 0; i < count; i++) {
    const [logits] = await logitsOf(setup, [ids]);
    ids.push(likeliest(logits!.slice(-setup.model.info.vocabulary)));
  }
  return ids.slice(start.length);
}

const prompts = [[5, 9, 3, 17], [11], [4, 8, 30, 2, 6, 7, 12, 20, 1, 3]];

describe("generation with a cache", () => {
  it.each([
    ["llama", "no method", []],
    ["gpt2", "no method", []],
    ["llama", "rows before the tokens", [prompt()]],
    ["gpt2", "rows before the tokens", [prompt()]],
    ["llama", "keys and values before the tokens'", [prefix()]],
    ["gpt2", "keys and values before the tokens'", [prefix()]],
    ["llama", "both", [prefix(), prompt()]],
    ["t5", "no method", []],
    ["t5", "rows before the tokens", [prompt()]],
    ["t5", "keys and values before the tokens'", [prefix()]],
    ["t5", "both", [prefix(), prompt()]],
  ] as const)("equals generation without (%s, %s)", async (name, _, methods) => {
    const setup = await open(name, methods);
    const naive = await Promise.all(prompts.map((p) => withoutCache(setup, p, 7)));
    expect(await written(setup, { prompts, maxNewTokens: 7 })).toEqual(naive);
  });

  it("gives a sequence the same tokens whatever stands beside it in the batch", async () => {
    const setup = await open("llama");
    const together = await written(setup, { prompts, maxNewTokens: 6 });
    for (const [row, p] of prompts.entries())
      expect(await written(setup, { prompts: [p], maxNewTokens: 6 })).toEqual([together[row]]);
  });

  it("keeps its programs from one request to the next, and takes longer ones", async () => {
    const setup = await open("llama");
    const generator = openGenerator(setup);
    const request = { prompts: [prompts[0]!], maxNewTokens: 5 };
    const first = await all(generator.generate(request));
    const bytes = setup.runtime.allocated();
    await all(generator.generate({ prompts: [prompts[2]!], maxNewTokens: 20 }));
    expect(await all(generator.generate(request))).toEqual(first);
    expect(setup.runtime.allocated()["cache"]).toBe(bytes["cache"]);
    generator.dispose();
    expect(setup.runtime.allocated()["cache"] ?? 0).toBe(0);
  });

  it("reads longer sources than before", async () => {
    const setup = await open("t5");
    const generator = openGenerator(setup);
    const answer = async (source: readonly number[]): Promise<number[]> =>
      (await all(generator.generate({ prompts: [source], maxNewTokens: 4 }))).map((t) => t.id);
    const sources = [prompts[0]!, Array.from({ length: 19 }, (_, i) => 3 + i), prompts[1]!];
    for (const source of sources) expect(await answer(source)).toEqual(await withoutCache(setup, source, 4));
    generator.dispose();
    expect(setup.runtime.allocated()["cache"] ?? 0).toBe(0);
  });

  it("stands beside another generator on the same store", async () => {
    const setup = await open("gpt2");
    const request = { prompts: [prompts[0]!], maxNewTokens: 4 };
    const [a, b] = [openGenerator(setup).generate(request), openGenerator(setup).generate(request)];
    const [x, y] = await Promise.all([all(a), all(b)]);
    expect(x).toEqual(y);
  });
});

/** A trained low-rank update, as LoRA has it. */
const update = defineMethod({
  contract: 1,
  name: "update-like",
  group: "reparameterization",
  source: "test",
  config: z.object({}),
  adapt: () => ({
    linear: {
      at: ["attn.q", "mlp.down"],
      wrap: (x, next, { own, site }) => {
        const [a, b] = [own("a", [2, site.in], normal(0.5)), own("b", [site.out, 2], normal(0.5))];
        return add(next(x), linear(linear(x, a), b));
      },
    },
  }),
});

describe("generation with an adapter for each row", () => {
  const kinds = { "an update": [update()], prefix: [prefix()], prompt: [prompt()], another: [update()] };

  /** A setup with a stack of each kind. */
  async function openMixed(name: string): Promise<Setup & { readonly stacks: readonly (readonly Adapter[])[] }> {
    const { model, base } = await loadModel(folderOf(name), { task: goldenOf(name).task });
    const runtime = hostRuntime();
    const store = runtime.store();
    declareBase(store, base);
    const adapters = Object.entries(kinds).map(([id, methods]) => adapt(model, methods, { id }));
    adapters.forEach((adapter, i) => declareAdapter(store, adapter, base, { seed: i }));
    return { runtime, store, model, stacks: adapters.map((adapter) => [adapter]) };
  }

  it.each(["llama", "gpt2", "t5"])("gives each row what it has alone (%s)", async (name) => {
    const { stacks, ...setup } = await openMixed(name);
    const mixedPrompts = [...prompts, [7, 2], [3]];
    const generator = openGenerator({ ...setup, stacks });
    const alone = async (prompt: readonly number[], stack: number) =>
      (await written({ ...setup, adapters: stacks[stack - 1] ?? [] }, { prompts: [prompt], maxNewTokens: 6 }))[0];
    for (const rows of [
      [1, 2, 3, 0, 4],
      [3, 0, 0, 4, 2],
    ]) {
      const together = byRow(await all(generator.generate({ prompts: mixedPrompts, maxNewTokens: 6, rows })), 5);
      for (const [row, stack] of rows.entries())
        expect(together[row], `row ${row}`).toEqual(await alone(mixedPrompts[row]!, stack));
    }
  });

  it("switches adapters without compiling again", async () => {
    const setup = await openMixed("llama");
    let compiled = 0;
    const compile: typeof setup.runtime.compile = (...args) => {
      compiled++;
      return setup.runtime.compile(...args);
    };
    const generator = openGenerator({ ...setup, runtime: { ...setup.runtime, compile } });
    for (const rows of [[1], [3], [0], [2]])
      await all(generator.generate({ prompts: [[5, 9]], maxNewTokens: 3, rows }));
    expect(compiled).toBe(2); // a program that reads, and one that writes on
  });

  it("refuses rows that name no stack", async () => {
    const generator = openGenerator(await openMixed("llama"));
    const asked = (rows: readonly number[]) => all(generator.generate({ prompts: [[1]], maxNewTokens: 1, rows }));
    await expect(asked([5])).rejects.toThrow(
      "a row names stack 5; this generator has 4, counted from 1, and 0 for none.",
    );
    await expect(asked([1, 1])).rejects.toThrow("1 prompts need a stack each; rows names 2.");
  });
});

describe("generation ends", () => {
  it("at a stop id, row by row", async () => {
    const setup = await open("llama");
    const free = await written(setup, { prompts, maxNewTokens: 8 });
    const stop = [free[0]![2]!];
    const tokens = await all(openGenerator(setup).generate({ prompts, maxNewTokens: 8, stop }));
    for (const [row, ids] of byRow(tokens, 3).entries()) {
      const end = free[row]!.indexOf(stop[0]!);
      expect(ids).toEqual(end < 0 ? free[row] : free[row]!.slice(0, end + 1));
      expect(tokens.filter((t) => t.row === row).map((t) => t.end)).toEqual([
        ...ids.slice(1).map(() => null),
        end < 0 ? "length" : "stop",
      ]);
    }
  });

  it("where the model's positions end", async () => {
    const setup = await open("gpt2-untied"); // 16 positions
    const [ids] = await written(setup, { prompts: [[1, 2, 3]], maxNewTokens: 40 });
    expect(ids).toHaveLength(14); // the last token needs no position: nothing follows it
    expect(ids).toEqual(await withoutCache(setup, [1, 2, 3], 14));
  });

  it("where rows that a method put before the tokens leave no position", async () => {
    const setup = await open("gpt2-untied", [prompt()]);
    expect((await written(setup, { prompts: [[1, 2, 3]], maxNewTokens: 40 }))[0]).toHaveLength(11);
  });

  it("when the caller leaves the loop, and can begin again", async () => {
    const generator = openGenerator(await open("gpt2"));
    const request = { prompts: [[1, 2]], maxNewTokens: 5 };
    for await (const _ of generator.generate(request)) break;
    expect(await all(generator.generate(request))).toHaveLength(5);
  });

  it("at once where nothing is asked for", async () => {
    const setup = await open("gpt2");
    expect(await written(setup, { prompts: [[1]], maxNewTokens: 0 })).toEqual([[]]);
    expect(await written(setup, { prompts: [], maxNewTokens: 4 })).toEqual([]);
  });
});

describe("generation refuses", () => {
  it("empty prompts and prompts longer than the model's positions", async () => {
    const generator = openGenerator(await open("gpt2-untied"));
    await expect(all(generator.generate({ prompts: [[1], []], maxNewTokens: 1 }))).rejects.toThrow(
      /sequence 1 has no tokens/,
    );
    const long = Array.from({ length: 17 }, () => 1);
    await expect(all(generator.generate({ prompts: [long], maxNewTokens: 1 }))).rejects.toThrow(
      /prompt 0 has 17 tokens; this model takes 16 at most/,
    );
  });

  it("prompts for which adapters leave too few positions, and stops where they end", async () => {
    for (const method of [prompt(), prefix()]) {
      const setup = await open("gpt2-untied", [method]);
      const taken = method.name === "prompt-like" ? 3 : 2;
      const room = 16 - taken;
      const prompts = [Array.from({ length: room + 1 }, () => 1)];
      await expect(written(setup, { prompts, maxNewTokens: 1 })).rejects.toThrow(
        `prompt 0 has ${room + 1} tokens; this model takes ${room} at most: ${taken} of its 16 positions go to adapters.`,
      );
      const last = [Array.from({ length: room - 1 }, () => 1)];
      expect((await written(setup, { prompts: last, maxNewTokens: 9 }))[0]).toHaveLength(2);
    }
  });

  it("ids that the vocabulary lacks", async () => {
    const setup = await open("gpt2-untied");
    const generator = openGenerator(setup);
    await expect(all(generator.generate({ prompts: [[1, 31]], maxNewTokens: 1 }))).rejects.toThrow(
      /holds the id 31; .* 0 to 30/,
    );
    await expect(logitsOf(setup, [[1], [-1]])).rejects.toThrow(/sequence 1 holds the id -1/);
  });

  it("two requests at a time", async () => {
    const generator = openGenerator(await open("gpt2"));
    const request = { prompts: [[1, 2]], maxNewTokens: 3 };
    const first = generator.generate(request);
    await first.next();
    await expect(all(generator.generate(request))).rejects.toThrow(/writing already/);
    expect(await all(first)).toHaveLength(2);
  });
});

describe("sampling", () => {
  it.each([
    [{ temperature: 0 }, /temperature must be above 0, not 0/],
    [{ topK: 0 }, /topK must be a whole number above 0, not 0/],
    [{ topP: 1.5 }, /topP must be in \(0, 1\], not 1\.5/],
  ])("refuses %j", async (settings, message) => {
    const generator = openGenerator(await open("gpt2"));
    const request = { prompts: [[1]], maxNewTokens: 1, sampling: { seed: 0, ...settings } };
    await expect(all(generator.generate(request))).rejects.toThrow(message);
  });

  it("gives the same tokens for the same seed, others for another", async () => {
    const setup = await open("llama");
    const draw = (seed: number): Promise<number[][]> =>
      written(setup, { prompts: [prompts[0]!], maxNewTokens: 20, sampling: { temperature: 1.5, seed } });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });
});
