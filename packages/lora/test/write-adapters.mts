// Writes adapters of ours for the golden models, and the logits they have here, for scripts/golden/check_lora.py:
//
//     pnpm --filter @graftml/lora golden OUT

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { shaken, started } from "@graftml/conformance";
import { adapt, type Adapted, type NamedValues } from "@graftml/peft";
import { saveAdapter } from "@graftml/peft/files";
import { hostRuntime } from "@graftml/tensor";
import { adalora, lora } from "../src/index.ts";
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
    dora: { dora: true, target: ["attn.q", "mlp.down"], dropout: 0.1 },
    pissa: { rank: 3, init: "pissa", target: "all-linear", rank_pattern: { q_proj: 2 } },
    olora: { rank: 2, init: "olora", rslora: true },
    embeddings: { embeddings: true, rank: 3 },
  },
  gpt2: {
    default: {},
    "all-linear": { rank: 2, target: "all-linear" },
    "bias-all": { bias: "all", target: ["attn.o"] },
    "bias-lora-only": { bias: "lora_only", target: ["mlp.up", "mlp.down"] },
    block: { target: "all-linear", layers: [1] },
    dora: { dora: true, bias: "lora_only" },
    pissa: { rank: 2, init: "pissa", dora: true },
    bias: { lora_bias: true, target: ["attn.o", "mlp.up"] },
    split: { fused: "split", rank: 3, target: ["attn.q", "attn.v", "mlp.up"] },
  },
};

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error("usage: write-adapters.mts OUT");
for (const [name, configs] of Object.entries(cases)) {
  const setup = await goldenModel(name);
  const methods = Object.entries(configs).map(([title, config]): readonly [string, Adapted] => [title, lora(config)]);
  const budget = adalora({ rank: 3, target_rank: 2, target: "all-linear" });
  for (const [title, method] of [...methods, ["adalora", budget] as const]) {
    const fresh = await started({ ...setup, runtime: hostRuntime() }, adapt(setup.model, [method]));
    const { adapter, state } = shaken(fresh);
    if (method === budget) spend(state);
    const folder = join(out, name, title);
    await saveAdapter(folder, adapter, setup.model, state);
    const { y } = await compute(setup, { adapter, state });
    await writeFile(join(folder, "logits.json"), JSON.stringify([...y!]));
  }
}

/** Sets ranks to zero as a budget does: none, one, two, all of a linear's. */
function spend(state: NamedValues): void {
  const numbers = [...state].filter(([key]) => key.endsWith(".lora_E"));
  for (const [i, [, { values }]] of numbers.entries()) values.fill(0, 0, i % 4);
}
