// Writes the golden adapters again, for scripts/golden/check_ia3.py:
//
//     pnpm --filter @graftml/ia3 golden OUT

import { join } from "node:path";
import { goldenSizes as sizes, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { loadAdapter, saveAdapter } from "@graftml/peft/files";
import { ia3 } from "../src/index.ts";

const models = { llama: tinyLlama({ sizes }), gpt2: tinyGpt2({ sizes }) };
const cases = ["llama/default", "llama/chosen", "llama/expression", "gpt2/default"];

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error("usage: write-adapters.mts OUT");
for (const name of cases) {
  const model = name.startsWith("gpt2") ? models.gpt2 : models.llama;
  const { adapter, state } = await loadAdapter(join(import.meta.dirname, "golden", name), model, [ia3]);
  await saveAdapter(join(out, name), adapter, model, state);
}
