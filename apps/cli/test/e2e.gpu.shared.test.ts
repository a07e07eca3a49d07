/** LoRA on stories260K and E2E's references: the held-out loss that torch + PEFT reach. See scripts/golden/e2e.py. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import lora from "@graftml/lora";
import { loadModel } from "@graftml/models";
import { adapt, declareAdapter, declareBase } from "@graftml/peft";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { causalLm, encodeText, evaluate, type Example, train } from "@graftml/trainer";
import { describe, expect, it } from "vitest";
import { firstRows } from "../src/data/read.ts";

const SHARED = join(import.meta.dirname, "../../../../shared");

/** What the script recorded. */
interface Golden {
  readonly steps: number;
  readonly batch_size: number;
  readonly max_length: number;
  readonly lr: number;
  readonly held_out_rows: number;
  readonly before: number;
  readonly after: number;
}

describe("300 steps of LoRA on E2E", () => {
  it("reach PEFT's held-out loss within 2 %, from the same loss before", { timeout: 600_000 }, async () => {
    const golden = JSON.parse(readFileSync(join(import.meta.dirname, "golden/e2e.json"), "utf8")) as Golden;
    const { model, base, tokenizer, eos } = await loadModel(join(SHARED, "models/stories260K"));
    const rows = async (file: string, count: number): Promise<readonly Example[]> =>
      (await firstRows(join(SHARED, "data/e2e", file), { columns: { text: "ref" }, layouts: [["text"]] }, count)).map(
        ({ text = "" }) =>
          encodeText(text, { encode: tokenizer!.encode, end: eos[0] ?? null, maxLength: golden.max_length }),
      );
    const heldOut = await rows("devset.csv", golden.held_out_rows);
    const runtime = deviceRuntime(await requestDevice());
    const store = runtime.store();
    declareBase(store, base);
    const adapter = adapt(model, [lora({ rank: 8, alpha: 16, target: "all-linear" })]);
    const trainable = declareAdapter(store, adapter, base, { seed: 0 });
    const { steps, lr, batch_size: batchSize } = golden;
    const setting = { runtime, store, model, adapters: [adapter], task: causalLm, batchSize };
    const before = await evaluate(setting, heldOut);
    expect(before.loss / golden.before).toBeCloseTo(1, 4);
    let after = NaN;
    const run = {
      ...setting,
      trainable,
      rows: await rows("trainset.csv", steps * batchSize),
      shuffle: false,
      steps,
      lr,
      heldOut,
    };
    for await (const event of train(run)) if (event.type === "eval") after = event.eval.loss;
    runtime.dispose();
    console.info(`held-out loss ${after.toFixed(4)}, PEFT ${golden.after.toFixed(4)}`);
    expect(Math.abs(after / golden.after - 1)).toBeLessThanOrEqual(0.02);
  });
});
