// Writes the golden adapters again, for scripts/golden/check_bottlenecks.py:
//
//     pnpm --filter @graftml/adapters golden OUT

import { globSync } from "node:fs";
import { dirname, join } from "node:path";
import { goldenSizes as sizes, tinyBert, tinyGpt2, tinyLlama } from "@graftml/conformance";
import type { Model } from "@graftml/peft";
import { openFolder, writeFolder } from "@graftml/peft/files";
import { adapterHub } from "../src/index.ts";

const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes }),
  bert: tinyBert({ sizes }),
};

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error("usage: write-adapters.mts OUT");
const golden = join(import.meta.dirname, "golden");
for (const folder of globSync("*/**/adapter_config.json", { cwd: golden }).map(dirname)) {
  const model = models[folder.split("/")[0] ?? ""];
  if (model === undefined) throw new Error(`no model for ${folder}`);
  const { adapter, state } = await adapterHub.read(await openFolder(join(golden, folder)), model, []);
  await writeFolder(join(out, folder), adapterHub.write?.(adapter, model, state, { name: "ours", base: null }) ?? {});
}
