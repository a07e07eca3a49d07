/** Twenty LoRA steps against torch and PEFT: the same start, the same batches, the same losses. See scripts/golden/steps.py. */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { loadModel } from "@graftml/models";
import { declareAdapter, declareBase } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { deviceRuntime, requestDevice, type Runtime } from "@graftml/tensor";
import { adamw, causalLm, type StepEvent, train } from "@graftml/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstRows } from "../src/data/read.ts";
import { loadPackage, methodPackages } from "../src/resolve.ts";

const SHARED = join(import.meta.dirname, "../../../../shared");
const GOLDEN = join(import.meta.dirname, "golden");
const TOLERANCE = 1e-3;
/** Rows of a batch, and tokens of a row at most, as in the recording script. */
const [ROWS, TOKENS] = [4, 40] as const;

/** What the script recorded; batches only where they cannot be read again. */
interface Golden {
  readonly model: string;
  readonly lr: number;
  readonly max_grad_norm: number;
  readonly trainable: number;
  readonly tokens: readonly number[];
  readonly loss: readonly number[];
  readonly grad_norm: readonly number[];
  readonly batches?: readonly (readonly (readonly number[])[])[];
}

const cases = globSync("steps-*.json", { cwd: GOLDEN }).toSorted();
let runtime: Runtime;
beforeAll(async () => void (runtime = deviceRuntime(await requestDevice())));
afterAll(() => runtime.dispose());

describe("twenty steps", () => {
  it("are recorded", () => expect(cases).toHaveLength(4));

  it.each(cases)("of %s lose what torch and PEFT lose", async (file) => {
    const golden = JSON.parse(readFileSync(join(GOLDEN, file), "utf8")) as Golden;
    const { model, base, tokenizer } = await loadModel(join(SHARED, "models", golden.model));
    const texts = async (): Promise<readonly (readonly number[])[]> =>
      (
        await firstRows(
          join(SHARED, "data/e2e/trainset.csv"),
          { columns: { text: "ref" }, layouts: [["text"]] },
          golden.loss.length * ROWS,
        )
      ).map(({ text = "" }) => tokenizer!.encode(text).slice(0, TOKENS));
    const rows = (golden.batches?.flat() ?? (await texts())).map((ids) => ({ ids, labels: ids }));
    const methods = (await Promise.all(methodPackages().map(loadPackage))).flat();
    const { adapter, state } = await loadAdapter(join(GOLDEN, basename(file, ".json")), model, methods);
    const store = runtime.store();
    declareBase(store, base);
    const trainable = declareAdapter(store, adapter, base, { seed: 0, state });
    const { lr, max_grad_norm: maxGradNorm } = golden;
    const setting = { runtime, store, model, adapters: [adapter], task: causalLm, batchSize: ROWS };
    const steps: StepEvent[] = [];
    const run = {
      ...setting,
      trainable,
      rows,
      shuffle: false,
      steps: golden.loss.length,
      optimizer: adamw(),
      lr,
      maxGradNorm,
    };
    for await (const event of train(run)) if (event.type === "step") steps.push(event);
    expect(trainable.flatMap((b) => b.members).reduce((n, m) => n + m.shape.reduce((a, d) => a * d, 1), 0)).toBe(
      golden.trainable,
    );
    expect(steps.map((step) => step.tokens)).toEqual(golden.tokens);
    const apart = (ours: readonly number[], theirs: readonly number[]): number =>
      Math.max(...ours.map((x, i) => Math.abs(x / theirs[i]! - 1)));
    expect(
      apart(
        steps.map((s) => s.loss),
        golden.loss,
      ),
    ).toBeLessThanOrEqual(TOLERANCE);
    expect(
      apart(
        steps.map((s) => s.gradNorm),
        golden.grad_norm,
      ),
    ).toBeLessThanOrEqual(TOLERANCE);
  });
});
