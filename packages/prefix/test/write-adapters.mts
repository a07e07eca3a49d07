// Writes prefixes and prompts of ours for the golden models, and the logits they have here, for scripts/golden/check_prefix.py:
//
//     pnpm --filter @graftml/prefix golden OUT

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  goldenBase,
  goldenSizes as sizes,
  logits,
  shaken,
  started,
  tinyBert,
  tinyGpt2,
  tinyLlama,
  tinyT5,
} from "@graftml/conformance";
import { adapt, type Adapted } from "@graftml/peft";
import { saveAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { prefix, prompt, pTuning } from "../src/index.ts";

const models = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes, dropout: 0 }),
  bert: tinyBert({ sizes }),
  t5: tinyT5({ sizes }),
};
const cases: Readonly<Record<string, Adapted>> = {
  prefix: prefix({ tokens: 4 }),
  "prefix-mlp": prefix({ tokens: 3, reparameterize: 5 }),
  prompt: prompt({ tokens: 4 }),
  "p-tuning": pTuning({ tokens: 3, hidden: 7 }),
};

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error("usage: write-adapters.mts OUT");
for (const [name, model] of Object.entries(models)) {
  const base = await goldenBase(model, join(import.meta.dirname, "golden", name, "model.safetensors"));
  const rig = { model, base, runtime: hostRuntime() };
  for (const [title, method] of Object.entries(cases)) {
    if (name === "t5" && method.name === "prefix") continue; // saved in files of ours
    const { adapter, state } = shaken(await started(rig, adapt(model, [method])));
    const folder = join(out, name, title);
    await saveAdapter(folder, adapter, model, state);
    await writeFile(join(folder, "logits.json"), JSON.stringify([...(await logits(rig, [{ adapter, state }]))]));
  }
}
