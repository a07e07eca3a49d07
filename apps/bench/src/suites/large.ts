/** @file Suite `large`: a model of more than a billion parameters in four bits, quantized and trained by the command line. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graft, type Taken } from "../command.ts";
import { LLAMA_1B, randomText, writeRandomLlama } from "../random-llama.ts";
import type { Report, Row } from "../report.ts";

/** Tokens of a row, its end among them, and steps of a run. */
const [LENGTH, STEPS] = [128, 3] as const;

const LORA = { name: "lora", rank: 16, alpha: 32, target: "all-linear" };
const runs = {
  "train, from that folder": { model: "nf4", methods: [LORA] },
  "train, quantizing on the way": { model: "f16", methods: [{ name: "quant", double_quant: true }, LORA] },
} as const;

const figuresOf = ({ seconds, peak }: Taken): Row["figures"] => ({
  "whole, s": seconds,
  ...(peak !== null && { "peak, GiB": peak }),
});

/** Seconds and largest resident memory of quantizing, and of the steps of LoRA on all linears from both folders. */
export async function large(): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "graft-large-"));
  try {
    const parameters = await writeRandomLlama(join(folder, "f16"), LLAMA_1B);
    const texts = Array.from({ length: STEPS }, () => JSON.stringify({ text: randomText(LENGTH - 1) }));
    await writeFile(join(folder, "rows.jsonl"), `${texts.join("\n")}\n`);
    const quantized = await graft(folder, ["quantize", "--model", "f16", "--out", "nf4", "--double-quant"]);
    const rows: Row[] = [{ name: "graft quantize", figures: figuresOf(quantized) }];
    for (const [name, run] of Object.entries(runs)) {
      const train = { steps: STEPS, batch_size: 1, checkpoint_activations: true };
      const settings = { ...run, data: { train: "rows.jsonl", max_length: LENGTH }, train, out: "out" };
      await writeFile(join(folder, "run.json"), JSON.stringify(settings));
      const taken = await graft(folder, ["train", "run.json", "--force"]);
      const lines = (await readFile(join(folder, "out/metrics.jsonl"), "utf8")).trim().split("\n");
      const steps = lines.map((line) => JSON.parse(line) as { readonly ms: number; readonly loss: number }); // as the contract says
      const seconds = Object.fromEntries(steps.map(({ ms }, i) => [`step ${i + 1}, s`, ms / 1000]));
      rows.push({ name, figures: { ...figuresOf(taken), ...seconds, "last loss": steps.at(-1)?.loss ?? NaN } });
    }
    return { suite: `large (${(parameters / 1e9).toFixed(2)} billion parameters, 1 × ${LENGTH} tokens)`, rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
