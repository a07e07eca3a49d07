// Writes adapters of ours for the golden models, and the logits they have here, for scripts/golden/check_lora.py:
//
//     pnpm --filter @graftml/lora golden OUT

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { shaken, started } from "@graftml/conformance";
import { adapt } from "@graftml/peft";
import { saveAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { lora } from "../src/index.ts";
import { compute, goldenModel } from "./golden-model.ts";

type Config = Parameters<typeof lora>[0];
const cases: Readonly<Record<string, Readonly<Record<string, Config>>>> = {
  llama: {
    default: {},
    rslora: { rank: 3, alpha: 5, rslora: true, target: "all-linear", dropout: 0.1 },
    patterns: {
      target: ["attn.q", "mlp.down"],
      rank_pattern: { "^model.layers.0.*": 2 },
      alpha_pattern: { down_proj: 3 },
    },
    blocks: { target: ["mlp.up", "attn.k"], exclude: ["0.self_attn.k_proj"], layers: [0, 1] },
    head: { target: ["unembed", "attn.o"] },
    expression: { target: ".*1\\.mlp\\.(up|gate)_proj" },
  },
  gpt2: {
    default: {},
    "all-linear": { rank: 2, target: "all-linear" },
    "bias-all": { bias: "all", target: ["attn.o"] },
    "bias-lora-only": { bias: "lora_only", target: ["mlp.up", "mlp.down"] },
    block: { target: "all-linear", layers: [1] },
  },
};

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error("usage: write-adapters.mts OUT");
for (const [name, configs] of Object.entries(cases)) {
  const setup = await goldenModel(name);
  for (const [title, config] of Object.entries(configs)) {
    const fresh = await started({ ...setup, runtime: hostRuntime() }, adapt(setup.model, [lora(config)]));
    const loaded = shaken(fresh);
    const folder = join(out, name, title);
    await saveAdapter(folder, loaded.adapter, setup.model, loaded.state);
    const { y } = await compute(setup, loaded);
    await writeFile(join(folder, "logits.json"), JSON.stringify([...y!]));
  }
}
