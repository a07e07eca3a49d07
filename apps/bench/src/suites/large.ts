/** @file Suite `large`: a model of more than a billion parameters in four bits, quantized and trained by the command line. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LLAMA_1B, randomText, writeRandomLlama } from "../random-llama.ts";
import type { Report, Row } from "../report.ts";

const MAIN = fileURLToPath(new URL("../../../cli/src/main.ts", import.meta.url));
/** Tokens of a row, its end among them, and steps of a run. */
const [LENGTH, STEPS] = [128, 3] as const;
/** Milliseconds between two looks at a process. */
const OFTEN = 100;

const LORA = { name: "lora", rank: 16, alpha: 32, target: "all-linear" };
const runs = {
  "train, from that folder": { model: "nf4", methods: [LORA] },
  "train, quantizing on the way": { model: "f16", methods: [{ name: "quant", double_quant: true }, LORA] },
} as const;

/** Seconds and largest resident memory of quantizing, and of the steps of LoRA on all linears from both folders. */
export async function large(): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "graft-large-"));
  try {
    const parameters = await writeRandomLlama(join(folder, "f16"), LLAMA_1B);
    const rows = Array.from({ length: STEPS }, () => JSON.stringify({ text: randomText(LENGTH - 1) }));
    await writeFile(join(folder, "rows.jsonl"), `${rows.join("\n")}\n`);
    const quantized = await watched(folder, ["quantize", "--model", "f16", "--out", "nf4", "--double-quant"]);
    const all: Row[] = [{ name: "graft quantize", figures: quantized }];
    for (const [name, run] of Object.entries(runs)) {
      const train = { steps: STEPS, batch_size: 1, checkpoint_activations: true };
      const settings = { ...run, data: { train: "rows.jsonl", max_length: LENGTH }, train, out: "out" };
      await writeFile(join(folder, "run.json"), JSON.stringify(settings));
      const figures = await watched(folder, ["train", "run.json", "--force"]);
      const lines = (await readFile(join(folder, "out/metrics.jsonl"), "utf8")).trim().split("\n");
      const steps = lines.map((line) => JSON.parse(line) as { readonly ms: number; readonly loss: number }); // as the contract says
      const seconds = Object.fromEntries(steps.map(({ ms }, i) => [`step ${i + 1}, s`, ms / 1000]));
      all.push({ name, figures: { ...figures, ...seconds, "last loss": steps.at(-1)?.loss ?? NaN } });
    }
    return { suite: `large (${(parameters / 1e9).toFixed(2)} billion parameters, 1 × ${LENGTH} tokens)`, rows: all };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a command to its end: how long it took, and the most memory that it held, where the system tells. */
async function watched(folder: string, args: readonly string[]): Promise<Readonly<Record<string, number>>> {
  const from = performance.now();
  const command = ["--conditions=@graftml/source", MAIN, ...args];
  const child = spawn(process.execPath, command, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  let most = 0;
  const timer = setInterval(() => {
    void readFile(`/proc/${child.pid}/status`, "utf8").then(
      (status) => (most = Math.max(most, Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? 0))),
      () => undefined, // it has just ended, or this is no Linux
    );
  }, OFTEN);
  const [code] = (await once(child, "exit")) as [number | null];
  clearInterval(timer);
  if (code !== 0) throw new Error(`graft ${args.join(" ")} ended with ${code}.`);
  return { "whole, s": (performance.now() - from) / 1000, ...(most > 0 && { "peak, GiB": most / 2 ** 20 }) };
}
