/** What AdapterHub's adapters do to the families of models. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { adapterHub } from "@graftml/adapters";
import { loadModel } from "@graftml/models";
import { declareAdapter, declareBase, type Loaded, openScope, predict } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { hostRuntime, type Values } from "@graftml/tensor";
import { describe, expect, it } from "vitest";

const golden = join(import.meta.dirname, "golden/hub");
const record = JSON.parse(readFileSync(join(golden, "logits.json"), "utf8")) as Readonly<
  Record<string, readonly number[]>
>;
const tasks: Readonly<Record<string, string>> = { t5: "seq2seq-lm", "deberta-v2": "sequence-classification" };
const ids = [3, 17, 42, 5, 63, 8];

/** Logits of one row of tokens, outside of training. */
async function logitsOf(family: string, adapter: string): Promise<Values> {
  const { model, base } = await loadModel(join(golden, family), { task: tasks[family] ?? "masked-lm" });
  const runtime = hostRuntime();
  const store = runtime.store();
  declareBase(store, base);
  const stack: Loaded[] =
    adapter === "base" ? [] : [await loadAdapter(join(golden, family, adapter), model, [], { formats: [adapterHub] })];
  for (const one of stack) declareAdapter(store, one.adapter, base, { seed: 0, state: one.state });
  const program = await runtime.compile(store, (trace) => {
    const layers = stack.flatMap((one) => one.adapter.layers);
    const scope = openScope(trace, layers, { train: false, model: model.info });
    return { y: predict(model, scope, { batch: 1, length: ids.length, target: 3 }) };
  });
  const zeros = ids.map(() => 0);
  const inputs = { ids, mask: ids.map(() => 1), types: zeros, decoder_ids: ids.slice(0, 3) };
  return (await program.run(inputs))["y"] ?? new Float64Array();
}

describe.each(["bert", "roberta", "distilbert", "deberta-v2", "t5"])("a %s", (family) => {
  it.each(["base", "language", "houlsby", "parallel", "everywhere"])(
    "says with %s what it says there",
    async (adapter) => {
      const theirs = record[`${family}/${adapter}`] ?? [];
      const ours = await logitsOf(family, adapter);
      const largest = Math.max(...theirs.map(Math.abs));
      const apart = Math.max(...theirs.map((x, i) => Math.abs(x - (ours[i] ?? NaN))));
      expect(apart / largest).toBeLessThan(1e-5);
      const change = Math.max(...theirs.map((x, i) => Math.abs(x - (record[`${family}/base`]?.[i] ?? NaN))));
      if (adapter !== "base") expect(change / largest).toBeGreaterThan(1e-3);
    },
  );
});
