import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  expectGoldenSteps,
  fit,
  goldenBase,
  type GoldenRecord,
  goldenSizes,
  tinyGpt2,
  tinyLlama,
} from "@graftml/conformance";
import { lora } from "@graftml/lora";
import { adapt, type Adapted, type AnyMethod, type Base, merge, type Model } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { quant } from "@graftml/quant";
import { hostRuntime } from "@graftml/tensor";
import { beforeAll, describe, expect, it } from "vitest";
import { loadPackage, methodPackages } from "../src/resolve.ts";

const golden = join(import.meta.dirname, "../../../packages/quant/test/golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes: goldenSizes }),
  gpt2: tinyGpt2({ sizes: goldenSizes, dropout: 0 }),
};
const forms: Readonly<Record<string, Adapted>> = {
  nf4: quant(),
  "nf4-double": quant({ double_quant: true }),
  fp4: quant({ type: "fp4" }),
  int8: quant({ type: "int8" }),
};
/** What stores a base, under whatever is trained. */
const stored = (model: Model, how: Adapted) => adapt(model, [how], { id: "base", trainable: false });

describe.each(Object.entries(record.cases))("LoRA on a %s that bitsandbytes decoded", (name, steps) => {
  it("has the losses and gradient norms that torch and PEFT have", async () => {
    const [model, form] = name.split("/") as [string, string];
    const base = await goldenBase(models[model]!, join(golden, model, "model.safetensors"));
    const below = stored(models[model]!, forms[form]!);
    const loaded = await loadAdapter(join(golden, model, "lora"), models[model]!, [lora], { below: [below] });
    const rig = { model: models[model]!, base, runtime: hostRuntime() };
    await expectGoldenSteps(rig, [{ adapter: below }, loaded], record, steps);
  });
});

/** What methods must be told, by their names; the others have defaults for all. */
const told: Readonly<Record<string, object>> = {
  top: { layers: 1 },
  blocks: { blocks: [1] },
  prefix: { tokens: 2 },
  prompt: { tokens: 2 },
  "p-tuning": { tokens: 2 },
};
const installed = (await Promise.all(methodPackages().map(loadPackage))).flat();
const training = installed.filter((m) => m.method.storesBase !== true);

describe.each(training.map((m) => [m.method.name, m] as const))("%s on a quantized base", (name, method: AnyMethod) => {
  const model = models["llama"]!;
  const below = stored(model, forms["nf4-double"]!);
  let base: Base;
  beforeAll(async () => {
    base = await goldenBase(model, join(golden, "llama", "model.safetensors"));
  });

  it("trains as on the decoded weights, or on its copies of the original ones", async () => {
    const adapter = adapt(model, [method((told[name] ?? {}) as never)], { below: [below] });
    const rig = { model, base, runtime: hostRuntime() };
    const setting = { steps: 3, lr: 1e-3 };
    const { losses, changedBase } = await fit(rig, [{ adapter: below }, { adapter }], setting);
    expect(changedBase).toEqual([]);
    const copies = adapter.owned.some((o) => o.name === `default/${o.site.path}` && o.site.shape.length > 1);
    if (copies) {
      expect(losses.every(Number.isFinite)).toBe(true);
      return;
    }
    const decoded = merge(model, base, [{ adapter: below, state: new Map() }]);
    const alone = adapt(model, [method((told[name] ?? {}) as never)]);
    expect(losses).toEqual((await fit({ ...rig, base: decoded }, [{ adapter: alone }], setting)).losses);
  });
});
