/** @file Suite `mixed`: a batch whose rows go through adapters of their own, beside the same batch through one. */
import { lora } from "@graftml/lora";
import { buildModel, families, openGenerator, randomBase } from "@graftml/models";
import { adapt, type Adapter, declareAdapter, declareBase, mixed as mixture, openScope, predict } from "@graftml/peft";
import { deviceRuntime, type Outputs, requestDevice, type Trace } from "@graftml/tensor";
import { gptYardstick, MEDIUM } from "../gpt.ts";
import { alternate, type Contender } from "../measure.ts";
import { randomRow } from "../random.ts";
import type { Report } from "../report.ts";

/** Rows of the batch, their tokens in a pass, and adapters that share it. */
const [ROWS, LENGTH, COUNTS] = [64, 32, [1, 4, 16, 64]] as const;
/** Tokens that a timed request writes for each row. */
const NEW = 8;

/** Milliseconds of a pass over all rows, and of the tokens that follow, by the number of adapters. */
export async function mixed(): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const { config } = gptYardstick(MEDIUM);
  const model = buildModel(config);
  const family = families.find((f) => f.type === model.info.type);
  if (family === undefined) throw new Error("the yardstick's family is gone.");
  const base = randomBase(model, family, 0);
  const store = runtime.store();
  declareBase(store, base);
  const adapters = Array.from({ length: Math.max(...COUNTS) }, (_, i) => {
    const adapter = adapt(model, [lora({ rank: 8, alpha: 16 })], { id: `adapter${i}`, trainable: false });
    declareAdapter(store, adapter, base, { seed: i });
    return adapter;
  });
  const ids = Int32Array.from(Array.from({ length: ROWS }, () => [...randomRow(LENGTH, MEDIUM.vocabulary)]).flat());
  const prompts = Array.from({ length: ROWS }, (_, row) => [...ids.subarray(row * LENGTH, row * LENGTH + 8)]);

  /** A pass, and a request, through adapters that all rows share and adapters that they choose among. */
  const contend = async (name: string, shared: readonly Adapter[], chosen: readonly Adapter[]) => {
    const rows = Array.from({ length: ROWS }, (_, row) => (chosen.length === 0 ? 0 : (row % chosen.length) + 1));
    const program = await runtime.compile(store, (trace: Trace): Outputs => {
      const layers = shared.flatMap((a) => a.layers);
      const stacks = chosen.map((a) => a.layers);
      const choice = chosen.length === 0 ? [] : [mixture(trace.input("adapter", [ROWS], "i32"), stacks)];
      const scope = openScope(trace, [...layers, ...choice], { train: false, model: model.info });
      return { y: predict(model, scope, { batch: ROWS, length: LENGTH }) };
    });
    const mask = new Float32Array(ids.length).fill(1);
    const generator = openGenerator({ runtime, store, model, adapters: shared, stacks: chosen.map((a) => [a]) });
    const pass: Contender = { name, run: async () => void (await program.run({ ids, mask, adapter: rows })) };
    const request: Contender = {
      name,
      run: async () => {
        let written = 0;
        for await (const _ of generator.generate({ prompts, rows, maxNewTokens: NEW })) written++;
        if (written !== ROWS * NEW) throw new Error(`${written} tokens were written, not ${ROWS * NEW}.`);
      },
    };
    return { pass, request };
  };
  const all = [await contend("no adapter", [], []), await contend("one, attached", adapters.slice(0, 1), [])];
  for (const count of COUNTS) all.push(await contend(`${count} in the batch`, [], adapters.slice(0, count)));
  const passes = await alternate(
    all.map((c) => c.pass),
    { rounds: 7 },
  );
  const requests = await alternate(
    all.map((c) => c.request),
    { rounds: 5, warm: 1 },
  );
  runtime.dispose();
  const [onePass, oneRequest] = [passes[1]?.best ?? NaN, requests[1]?.best ?? NaN];
  return {
    suite: `mixed (LoRA r 8 on q and v, ${ROWS} rows of ${LENGTH}; ${NEW} tokens written for each)`,
    rows: passes.map(({ name, median, best }, i) => ({
      name,
      figures: {
        "pass: ms, median": median,
        "pass: best": best,
        "pass: × one": best / onePass,
        "request: ms, median": requests[i]?.median ?? NaN,
        "request: best": requests[i]?.best ?? NaN,
        "request: × one": (requests[i]?.best ?? NaN) / oneRequest,
      },
    })),
  };
}
